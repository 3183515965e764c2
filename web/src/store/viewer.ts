/** The viewer: one study, its series as they arrive, and which stack hangs in which pane. */
import type { SeriesItem, StudyDetail } from '../client/console';
import { isAbort, RequestFailure } from '../client/http';
import type { SettledSeries } from '../client/settled';
import { readFrames, readInstance } from '../dicom-model/instance';
import { splitSeries, type Stack } from '../dicom-model/stacks';
import { approachOf, NOT_PICTURES, openSeries, readStudy, SLICED } from './approach';
import { Signal } from './signal';

/** `meet` moves the point in which planes meet, and is there only with planes. */
export type Tool = 'window' | 'scroll' | 'zoom' | 'pan' | 'meet';
export type Layout = '1x1' | '1x2' | '2x2';

export const PANES: Record<Layout, number> = { '1x1': 1, '1x2': 2, '2x2': 4 };

export type SeriesState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'ready'; readonly stacks: readonly Stack[] }
  | { readonly kind: 'no-picture'; readonly why: string }
  | { readonly kind: 'failed'; readonly failure: RequestFailure };

export interface ViewerState {
  readonly study: StudyDetail | null;
  readonly failure: RequestFailure | null;
  readonly series: ReadonlyMap<string, SeriesState>;
  readonly layout: Layout;
  /** Stack id for each pane; null = empty. Always four entries. */
  readonly hung: readonly (string | null)[];
  readonly active: number;
  /** The stack of the active pane is shown as a volume, in three planes. */
  readonly mpr: boolean;
  readonly tool: Tool;
}

const PARALLEL_SERIES = 2;

const asFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure
    ? error
    : new RequestFailure('The answer of the server could not be read.', 'Try again; if it stays, tell the administrator.');

export class ViewerStore {
  readonly state: Signal<ViewerState>;
  private readonly life = new AbortController();
  private readonly opened = new Map<string, SettledSeries>();

  constructor(
    private readonly tenant: string | null,
    private readonly uid: string,
    private readonly firstTool: Tool,
  ) {
    this.state = new Signal<ViewerState>({
      study: null,
      failure: null,
      series: new Map(),
      layout: '1x1',
      hung: [null, null, null, null],
      active: 0,
      mpr: false,
      tool: firstTool,
    });
  }

  dispose(): void {
    this.life.abort();
    for (const series of this.opened.values()) series.close();
  }

  /** The codestreams of a series, as far as they are here. */
  readonly settledOf = (series: string): SettledSeries | null => this.opened.get(series) ?? null;

  async open(): Promise<void> {
    this.state.patch({ failure: null });
    try {
      // What was fetched while the row was looked at serves once.
      const early = await approachOf(this.tenant, this.uid)?.take();
      const study = early?.study ?? (await readStudy(this.tenant, this.uid, this.life.signal));
      if (this.life.signal.aborted) early?.series?.close();
      else if (early?.series) this.opened.set(early.series.uid, early.series);
      this.state.patch({ study, series: new Map(study.seriesItems.map((s) => [s.series, startOf(s)])) });
      await this.loadAll(study);
    } catch (error) {
      if (!isAbort(error)) this.state.patch({ failure: asFailure(error) });
    }
  }

  /** Every stack that can be shown, in the order of the strip. */
  stacks(): Stack[] {
    const { study, series } = this.state.value;
    return (study?.seriesItems ?? []).flatMap((item) => {
      const state = series.get(item.series);
      return state?.kind === 'ready' ? state.stacks : [];
    });
  }

  stack(id: string | null): Stack | null {
    return id === null ? null : (this.stacks().find((stack) => stack.id === id) ?? null);
  }

  hang(stackId: string, pane = this.state.value.active): void {
    const hung = this.state.value.hung.map((before, i) => (i === pane ? stackId : before));
    this.state.patch({ hung, active: pane });
  }

  /** The next or previous stack into the active pane. */
  stepStack(step: number): void {
    const { hung, active } = this.state.value;
    const all = this.stacks();
    const next = all[all.findIndex((stack) => stack.id === hung[active]) + step];
    if (next) this.hang(next.id);
  }

  setLayout(layout: Layout): void {
    const active = Math.min(this.state.value.active, PANES[layout] - 1);
    this.state.patch({ layout, active });
    this.leaveMpr();
    this.fillPanes();
  }

  activate(pane: number): void {
    if (pane >= 0 && pane < PANES[this.state.value.layout]) this.state.patch({ active: pane });
  }

  setTool(tool: Tool): void {
    if (tool !== 'meet' || this.state.value.mpr) this.state.patch({ tool });
  }

  /** Between the stack of the active pane and its three planes. */
  toggleMpr(): void {
    const { mpr, hung, active, tool } = this.state.value;
    if (mpr) this.leaveMpr();
    // A mouse points first, a finger goes on scrolling.
    else if (hung[active] !== null) this.state.patch({ mpr: true, tool: this.firstTool === 'window' ? 'meet' : tool });
  }

  private leaveMpr(): void {
    const { mpr, tool } = this.state.value;
    if (mpr) this.state.patch({ mpr: false, tool: tool === 'meet' ? this.firstTool : tool });
  }

  async retrySeries(uid: string): Promise<void> {
    const item = this.state.value.study?.seriesItems.find((s) => s.series === uid);
    if (item) await this.loadSeries(item);
  }

  private async loadAll(study: StudyDetail): Promise<void> {
    const waiting = study.seriesItems.filter((s) => startOf(s).kind === 'waiting');
    // What is looked at first comes alone, until it can be scrolled.
    const first = waiting.find((item) => this.opened.has(item.series)) ?? waiting[0];
    if (first) {
      waiting.splice(waiting.indexOf(first), 1);
      await this.loadSeries(first);
      await this.settledOf(first.series)?.complete;
    }
    const worker = async (): Promise<void> => {
      for (let item = waiting.shift(); item; item = waiting.shift()) await this.loadSeries(item);
    };
    await Promise.all(Array.from({ length: PARALLEL_SERIES }, worker));
    if (!this.life.signal.aborted) this.fillPanes(true);
  }

  private setSeries(uid: string, next: SeriesState): void {
    this.state.patch({ series: new Map(this.state.value.series).set(uid, next) });
  }

  private async loadSeries(item: SeriesItem): Promise<void> {
    this.setSeries(item.series, { kind: 'waiting' });
    try {
      const datasets = await this.opening(item).metadata;
      const frames = datasets.flatMap((d) => {
        const instance = readInstance(d);
        return instance ? readFrames(d, instance) : [];
      });
      const stacks = splitSeries(frames);
      this.setSeries(
        item.series,
        stacks.length > 0 ? { kind: 'ready', stacks } : { kind: 'no-picture', why: 'No pictures' },
      );
      this.fillPanes();
    } catch (error) {
      if (!isAbort(error)) this.setSeries(item.series, { kind: 'failed', failure: asFailure(error) });
    }
  }

  /** The request of a series, made before or now; one that failed is made again. */
  private opening(item: SeriesItem): SettledSeries {
    const before = this.opened.get(item.series);
    if (before && !before.failed) return before;
    before?.close();
    const made = openSeries(this.tenant, this.uid, item);
    this.opened.set(item.series, made);
    if (this.life.signal.aborted) made.close();
    return made;
  }

  /**
   * Hang stacks in empty panes in the order of the strip. A series that is still loading holds
   * back those after it; localizers and single slices come when all the others are known.
   */
  private fillPanes(complete = false): void {
    const { layout, study, series } = this.state.value;
    const hung = [...this.state.value.hung];
    const items = study?.seriesItems ?? [];
    const waiting = items.findIndex((item) => series.get(item.series)?.kind === 'waiting');
    const known = new Set(items.slice(0, waiting < 0 ? items.length : waiting).map((item) => item.series));
    const all = this.stacks().filter((stack) => known.has(stack.series));
    const later = complete || waiting < 0 ? all.filter(isOverview) : [];
    const candidates = [...all.filter((stack) => !isOverview(stack)), ...later];
    for (let pane = 0; pane < PANES[layout]; pane += 1) {
      hung[pane] ??= candidates.find((stack) => !hung.includes(stack.id))?.id ?? null;
    }
    this.state.patch({ hung });
  }
}

/** A localizer, or a lone slice of a modality that makes volumes: not what one opens a study for. */
function isOverview(stack: Stack): boolean {
  const [first] = stack.frames;
  const lone = stack.frames.length === 1 && SLICED.has(first?.instance.modality ?? '');
  return stack.label.startsWith('localizer') || lone;
}

function startOf(item: SeriesItem): SeriesState {
  const why = NOT_PICTURES[item.modality];
  return why ? { kind: 'no-picture', why } : { kind: 'waiting' };
}
