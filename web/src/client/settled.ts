/** A settled series while it arrives: its metadata, and the codestreams of its frames as far as they are here. */
import { codestreamShape, finestLevel, type CodestreamShape } from '../dicom-model/codestream';
import { Dataset } from '../dicom-model/dataset';
import type { Frame } from '../dicom-model/instance';
import { fetchCodestream, fetchSeriesMetadata, type CodestreamPart } from './dicomweb';
import { get, isAbort, RequestFailure } from './http';
import { dicomwebRoot } from './place';
import { PREVIEW_TYPE, PreviewDamaged, readPreview, type PreviewSink } from './preview';

export interface FrameName {
  readonly sop: string;
  /** 1-based. */
  readonly frame: number;
}

const keyOf = ({ sop, frame }: FrameName): string => `${sop}#${frame}`;

/** Bytes of one codestream from its first byte on. */
class Stream {
  private pieces: Uint8Array[] = [];
  length = 0;
  /** Length of the whole; null until it is told. */
  total: number | null = null;

  /** Add bytes that begin at `offset`; what is here already is left out. False when there is a gap. */
  add(offset: number, bytes: Uint8Array): boolean {
    if (offset > this.length) return false;
    const fresh = bytes.subarray(this.length - offset);
    if (fresh.length > 0) this.pieces.push(fresh);
    this.length += fresh.length;
    return true;
  }

  /** The whole came in one piece: nothing of what was here stays. */
  replace(bytes: Uint8Array): void {
    this.pieces = [bytes];
    this.length = bytes.length;
  }

  cutTo(length: number): void {
    const bytes = this.bytes().slice(0, length);
    this.pieces = [bytes];
    this.length = bytes.length;
  }

  bytes(): Uint8Array {
    if (this.pieces.length === 1) return this.pieces[0] as Uint8Array;
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    this.pieces = [out];
    return out;
  }
}

/** A prefix ready to be decoded at `level`. */
export interface Prefix {
  readonly bytes: Uint8Array;
  readonly shape: CodestreamShape;
  readonly level: number;
}

export type PreviewStage = 'arriving' | 'complete' | 'none';

const budget = (): number =>
  (typeof matchMedia === 'function' && matchMedia('(pointer: coarse)').matches ? 32 : 128) * 1024 * 1024;

/** Whole codestreams of all series of the page: those used last, within a budget. */
class Tails {
  private readonly kept = new Map<string, { readonly stream: Stream; readonly prefix: number }>();
  private bytes = 0;

  /** Note that this stream was used; the longest unused ones go back to their prefixes. */
  use(key: string, stream: Stream, prefix: number): void {
    const known = this.kept.get(key);
    if (known) this.kept.delete(key);
    else this.bytes += stream.length - prefix;
    this.kept.set(key, { stream, prefix });
    for (const [old, entry] of this.kept) {
      if (this.bytes <= budget() || old === key) break;
      this.forget(old, entry);
    }
  }

  drop(key: string): void {
    const entry = this.kept.get(key);
    if (entry) this.forget(key, entry);
  }

  private forget(key: string, { stream, prefix }: { stream: Stream; prefix: number }): void {
    this.kept.delete(key);
    this.bytes -= stream.length - prefix;
    stream.cutTo(prefix);
  }
}

const tails = new Tails();

const deferred = <T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } => {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    [resolve, reject] = [yes, no];
  });
  return { promise, resolve, reject };
};

export interface PreviewWish {
  /** Coarse frames come down to 1/2^level of the size, 2 to 5. */
  readonly level: number;
  /** Least width and height of the lead image. */
  readonly lead: number;
}

const PREVIEW_DEADLINE = 180_000;

/** One series: asked for once as a preview, as metadata alone when there is no such thing. */
export class SettledSeries {
  /** Settled or not: the metadata of every instance. */
  readonly metadata: Promise<Dataset[]>;
  /** When everything that comes by itself is here. */
  readonly complete: Promise<void>;
  stage: PreviewStage = 'arriving';
  lead: FrameName | null = null;
  /** True when not even the metadata came. */
  failed = false;
  private readonly streams = new Map<string, Stream>();
  private readonly listeners = new Set<() => void>();
  private readonly life = new AbortController();

  constructor(
    private readonly tenant: string | null,
    private readonly study: string,
    readonly uid: string,
    wish: PreviewWish,
  ) {
    const told = deferred<Dataset[]>();
    this.metadata = told.promise;
    this.complete = this.open(wish, told.resolve).catch((error: unknown) => {
      this.failed = true;
      this.stage = 'none';
      told.reject(error);
      this.tell();
    });
    // Nobody may be waiting yet, or any more.
    this.metadata.catch(() => undefined);
  }

  /** Give up what is under way; what is here stays. */
  close(): void {
    this.life.abort();
    this.listeners.clear();
    for (const key of this.streams.keys()) tails.drop(key);
  }

  /** Hear of better previews. Returns a function that stops it. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Frames of which at least the coarsest level is here. */
  get coarse(): number {
    return this.streams.size;
  }

  /** True for a frame whose codestream can be fetched in parts. */
  has(frame: FrameName): boolean {
    return this.streams.has(keyOf(frame));
  }

  /** The best prefix of a frame that can be shown now; null when there is none. */
  prefix(frame: Frame): Prefix | null {
    const stream = this.streams.get(keyOf(frame));
    if (!stream || stream.length === 0) return null;
    const bytes = stream.bytes();
    const shape = codestreamShape(bytes);
    if (!shape || !fits(shape, frame)) return null;
    const level = finestLevel(shape);
    if (level === null) return null;
    return { bytes, shape, level };
  }

  /**
   * The whole codestream: what is missing is fetched and joined to what is here.
   *
   * @throws RequestFailure, or the AbortError of the signal.
   */
  async whole(frame: Frame, signal?: AbortSignal, priority?: 'high' | 'low'): Promise<Prefix> {
    const stream = this.streams.get(keyOf(frame));
    const had = stream?.length ?? 0;
    const found = await this.extend(frame, null, { signal, priority });
    const kept = this.streams.get(keyOf(frame));
    if (kept && kept.length === found.bytes.length) tails.use(keyOf(frame), kept, Math.min(had, kept.length));
    return found;
  }

  /** Fetch the parts up to a level, no more. Nothing happens when they are here. */
  async sharpen(frame: Frame, level: number, signal?: AbortSignal): Promise<void> {
    const stream = this.streams.get(keyOf(frame));
    const shape = this.prefix(frame)?.shape;
    const end = shape?.planned[shape.levels - level];
    if (!stream || end === undefined || end <= stream.length) return;
    const part = await fetchCodestream(this.tenant, frame, [stream.length, end], { signal, priority: 'high' });
    const same = stream.total === null || stream.total === part.total;
    if (same && part.from > 0) stream.add(part.from, part.bytes);
  }

  /** Wait until a frame can be fetched in parts; false when it never will be. */
  async until(frame: FrameName): Promise<boolean> {
    while (!this.has(frame) && this.stage === 'arriving' && this.lead) {
      await new Promise<void>((resolve) => {
        const stop = this.listen(() => {
          stop();
          resolve();
        });
      });
    }
    return this.has(frame);
  }

  private async extend(frame: Frame, to: number | null, options: { signal?: AbortSignal; priority?: 'high' | 'low' }): Promise<Prefix> {
    const key = keyOf(frame);
    const stream = this.streams.get(key) ?? new Stream();
    const ready = wholePrefix(stream, frame);
    if (ready) return ready;
    const part = await fetchCodestream(this.tenant, frame, [stream.length, to], options);
    const joined = this.join(stream, part, frame);
    if (joined) return joined;
    // Prefix and rest do not belong together: the whole in one piece decides.
    const fresh = new Stream();
    const all = await fetchCodestream(this.tenant, frame, [0, null], options);
    const alone = this.join(fresh, all, frame);
    if (!alone) throw new RequestFailure('The stored image cannot be read.', 'The stored object is unchanged.');
    this.streams.set(key, fresh);
    return alone;
  }

  private join(stream: Stream, part: CodestreamPart, frame: Frame): Prefix | null {
    if (stream.total !== null && stream.total !== part.total) return null;
    if (part.from === 0 && part.bytes.length === part.total) stream.replace(part.bytes);
    else if (!stream.add(part.from, part.bytes)) return null;
    return wholePrefix(stream, frame);
  }

  private async open(wish: PreviewWish, told: (metadata: Dataset[]) => void): Promise<void> {
    let metadata: Dataset[] | null = null;
    const sink = this.sink(
      (instances) => {
        metadata = instances;
      },
      // Metadata wait for the image behind them: who knows the frames also knows what is settled.
      () => metadata && told(metadata),
    );
    const base = `${dicomwebRoot(this.tenant)}/studies/${this.study}/series/${this.uid}`;
    const url = `${base}/preview?level=${wish.level}&lead=${wish.lead}`;
    const { signal } = this.life;
    try {
      await get(url, 'Loading the series', (response) => read(response, sink), { accept: PREVIEW_TYPE, deadline: PREVIEW_DEADLINE, signal });
    } catch (error) {
      if (isAbort(error)) throw error;
      // Sums that are wrong speak against everything that came: the frames are loaded whole instead.
      if (error instanceof PreviewDamaged || !metadata) {
        this.streams.clear();
        this.lead = null;
      }
    }
    told(metadata ?? (await fetchSeriesMetadata(this.tenant, this.study, this.uid, { signal })));
    this.stage = this.streams.size > 0 ? 'complete' : 'none';
    this.tell();
  }

  private sink(metadata: (instances: Dataset[]) => void, proceed: () => void): PreviewSink {
    const add = (name: FrameName, offset: number, bytes: Uint8Array): void => {
      const key = keyOf(name);
      const stream = this.streams.get(key) ?? new Stream();
      if (stream.add(offset, bytes)) this.streams.set(key, stream);
    };
    return {
      metadata: (instances) => metadata(instances.map((item) => Dataset.of(item))),
      lead: (sop, frame, bytes) => {
        this.lead = { sop, frame };
        add(this.lead, 0, bytes);
        proceed();
        this.tell();
      },
      part: (sop, frame, offset, bytes) => add({ sop, frame }, offset, bytes),
      section: () => {
        proceed();
        this.tell();
      },
      ends: (sop, frames) =>
        frames.forEach((ends, i) => {
          const stream = this.streams.get(keyOf({ sop, frame: i + 1 }));
          if (stream) stream.total = ends.at(-1) ?? null;
        }),
    };
  }

  private tell(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

async function read(response: Response, sink: PreviewSink): Promise<void> {
  const type = response.headers.get('content-type') ?? '';
  if (!type.startsWith(PREVIEW_TYPE) || !response.body) throw new PreviewDamaged('the server sent something else');
  await readPreview(response.body, sink);
}

/** Whether a codestream is the image that the header speaks of. */
const fits = (shape: CodestreamShape, { instance }: Frame): boolean =>
  shape.rows === instance.layout.rows &&
  shape.columns === instance.layout.columns &&
  shape.components === instance.layout.samples;

function wholePrefix(stream: Stream, frame: Frame): Prefix | null {
  if (stream.length === 0) return null;
  const bytes = stream.bytes();
  const shape = codestreamShape(bytes);
  if (!shape?.whole || shape.ends.length !== shape.levels + 1 || !fits(shape, frame)) return null;
  return { bytes, shape, level: 0 };
}
