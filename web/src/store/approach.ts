/** What is fetched before a study is opened: while a row is looked at, and at the press of the button. */
import { fetchStudy, type SeriesItem, type StudyDetail, type StudyItem } from '../client/console';
import { SettledSeries, type PreviewWish } from '../client/settled';

/** Modalities whose objects are not pictures to scroll; what the strip says about them. */
export const NOT_PICTURES: Record<string, string> = {
  SR: 'Structured report',
  KO: 'Key object selection',
  PR: 'Presentation state',
  SEG: 'Segmentation',
  RTSTRUCT: 'Structure set',
  RTPLAN: 'Treatment plan',
  RTRECORD: 'Treatment record',
  DOC: 'Document',
  AU: 'Audio',
  ECG: 'Waveform',
  HD: 'Waveform',
  REG: 'Registration',
};

export const SLICED = new Set(['CT', 'MR', 'PT', 'NM']);

/** Modalities of single large images: a lead of 128 pixels would show little of one. */
const PROJECTIONS = new Set(['CR', 'DX', 'MG', 'RF', 'XA', 'IO', 'PX']);
/** Series of more images than this come one level coarser, so that they can be scrolled as soon. */
const LONG = 400;
/** After so long an approach is forgotten: what it says may have been corrected since. */
const FRESH = 10_000;
/** A row that the pointer only passes is not asked for. */
const REST = 120;

const byNumber = (a: SeriesItem, b: SeriesItem): number =>
  (a.number ?? Infinity) - (b.number ?? Infinity) || a.series.localeCompare(b.series);

const wishFor = (item: SeriesItem): PreviewWish => ({
  level: item.instances > LONG ? 4 : 3,
  lead: PROJECTIONS.has(item.modality) ? 512 : 128,
});

export const openSeries = (tenant: string | null, study: string, item: SeriesItem): SettledSeries =>
  new SettledSeries(tenant, study, item.series, wishFor(item));

/** A study with its series in the order of their numbers. @throws RequestFailure */
export async function readStudy(tenant: string | null, study: string, signal: AbortSignal): Promise<StudyDetail> {
  const found = await fetchStudy(tenant, study, { signal });
  return { ...found, seriesItems: [...found.seriesItems].sort(byNumber) };
}

/** The series that will hang first, as far as one can tell without its metadata. */
export function likelyFirst(items: readonly SeriesItem[]): SeriesItem | null {
  const pictures = [...items].sort(byNumber).filter((item) => !NOT_PICTURES[item.modality]);
  const long = pictures.find((item) => item.instances > 1 || !SLICED.has(item.modality));
  return long ?? pictures[0] ?? null;
}

interface Early {
  readonly study: StudyDetail;
  readonly series: SettledSeries | null;
}

/** One study that will perhaps be opened. */
export class Approach {
  private readonly life = new AbortController();
  private readonly made = performance.now();
  private readonly found: Promise<Early | null>;
  private series: SettledSeries | null = null;
  private taken = false;

  /** @param hints series that the list has told, so that the first need not wait for the study */
  constructor(
    private readonly tenant: string | null,
    readonly study: string,
    hints: readonly SeriesItem[],
  ) {
    // Only a head start: a failure shows itself when the study is really opened.
    this.found = this.fetch(hints).catch(() => {
      this.series?.close();
      return null;
    });
  }

  get fresh(): boolean {
    return !this.taken && !this.life.signal.aborted && performance.now() - this.made < FRESH;
  }

  /** What is here or under way belongs to the caller from now on; null when there is nothing. */
  take(): Promise<Early | null> {
    this.taken = true;
    return this.found;
  }

  /** Give up what is under way, unless somebody has taken it. */
  close(): void {
    if (this.taken) return;
    this.life.abort();
    this.series?.close();
  }

  private async fetch(hints: readonly SeriesItem[]): Promise<Early> {
    this.lead(likelyFirst(hints));
    const study = await readStudy(this.tenant, this.study, this.life.signal);
    this.lead(likelyFirst(study.seriesItems));
    return { study, series: this.series };
  }

  /** Ask for this series, unless it is the one that is on its way. */
  private lead(item: SeriesItem | null): void {
    if (!item || this.series?.uid === item.series || this.life.signal.aborted) return;
    this.series?.close();
    this.series = openSeries(this.tenant, this.study, item);
  }
}

let current: { readonly tenant: string | null; readonly approach: Approach } | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let pressed = false;

type Looked = Pick<StudyItem, 'study' | 'hints'>;

function start(tenant: string | null, { study, hints }: Looked): void {
  clearTimeout(timer);
  if (current?.tenant === tenant && current.approach.study === study && current.approach.fresh) return;
  current?.approach.close();
  current = { tenant, approach: new Approach(tenant, study, hints) };
}

/** A row is looked at: fetched ahead after a short rest, and given up when another one is. */
export function approach(tenant: string | null, study: Looked): void {
  clearTimeout(timer);
  // The press of a link focuses it, too.
  if (pressed && current?.approach.study === study.study) return;
  pressed = false;
  timer = setTimeout(() => start(tenant, study), REST);
}

/** The row is left again; one that was pressed is on its way to being opened, and leaves by that. */
export function retreat(): void {
  clearTimeout(timer);
  if (pressed) return;
  current?.approach.close();
  current = null;
}

/** A row is pressed: no time to rest. */
export function press(tenant: string | null, study: Looked): void {
  start(tenant, study);
  pressed = true;
}

/** The press became something else: a drag, a scroll. */
export function release(): void {
  pressed = false;
  retreat();
}

/** What was fetched ahead of this study, if it is fresh; it belongs to the caller. */
export function approachOf(tenant: string | null, study: string): Approach | null {
  clearTimeout(timer);
  pressed = false;
  const found = current;
  current = null;
  if (found?.tenant === tenant && found.approach.study === study && found.approach.fresh) return found.approach;
  found?.approach.close();
  return null;
}
