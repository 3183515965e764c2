/** Loaded frames within a memory budget, and a queue that fetches what will be looked at next. */
import { isAbort } from '../client/http';
import type { SettledSeries } from '../client/settled';
import type { Frame } from '../dicom-model/instance';
import { loadFrame, previewable, previewOf, type LoadedFrame } from './images';

export const frameKey = (frame: Frame): string => `${frame.sop}#${frame.frame}`;

const PARALLEL_PREFETCH = 4;
/** Failures in a row after which fetching ahead stops: a server in trouble is not asked for more. */
const PREFETCH_FAILURES = 3;
/** Of the frames a viewport wants, so many from the first on are not given up when it moves on. */
const NEAR = 24;
const MB = 1024 * 1024;

const isSmall = (): boolean => matchMedia('(pointer: coarse)').matches;

/** Images by key within a budget; the one used longest ago goes first. */
class Shelf {
  /** Insertion order is age: a frame that is used moves to the end. */
  private readonly images = new Map<string, LoadedFrame>();
  private bytes = 0;

  constructor(readonly limit: number) {}

  has(key: string): boolean {
    return this.images.has(key);
  }

  get(key: string): LoadedFrame | undefined {
    const found = this.images.get(key);
    if (found) {
      this.images.delete(key);
      this.images.set(key, found);
    }
    return found;
  }

  put(key: string, image: LoadedFrame): void {
    this.drop(key);
    this.images.set(key, image);
    this.bytes += image.bytes;
    for (const old of this.images.keys()) {
      if (this.bytes <= this.limit || old === key) break;
      this.drop(old);
    }
  }

  drop(key: string): void {
    const image = this.images.get(key);
    if (!image) return;
    this.images.delete(key);
    this.bytes -= image.bytes;
  }

  clear(): void {
    this.images.clear();
    this.bytes = 0;
  }
}

interface Loading {
  readonly promise: Promise<LoadedFrame>;
  readonly abort: AbortController;
}

export class FrameCache {
  private readonly finals: Shelf;
  private readonly previews: Shelf;
  private readonly loading = new Map<string, Loading>();
  private readonly decoding = new Map<string, Promise<LoadedFrame | null>>();
  /** What each viewport looks at and will look at; a load that nobody wants is given up. */
  private readonly wants = new Map<object, ReadonlySet<string>>();
  private queue: Frame[] = [];
  private prefetching = 0;
  private failures = 0;
  private disposed = false;

  /** @param settledOf the settled series that a frame belongs to, as far as it is known. */
  constructor(
    private readonly tenant: string | null,
    readonly settledOf: (series: string) => SettledSeries | null = () => null,
    limits = isSmall() ? { finals: 128 * MB, previews: 16 * MB } : { finals: 512 * MB, previews: 64 * MB },
  ) {
    this.finals = new Shelf(limits.finals);
    this.previews = new Shelf(limits.previews);
  }

  /** The frame in full, when it is in memory. */
  peek(frame: Frame): LoadedFrame | undefined {
    return this.finals.get(frameKey(frame));
  }

  /** A preview that is in memory, ready to draw. */
  peekPreview(frame: Frame): LoadedFrame | undefined {
    return this.previews.get(frameKey(frame));
  }

  /** Whether a preview is in memory, or can be made of the bytes at hand. */
  hasPreview(frame: Frame): boolean {
    return this.previews.has(frameKey(frame)) || previewable(this.settledOf(frame.instance.series), frame) !== null;
  }

  /** The best preview that the bytes at hand allow; null when there is none. */
  preview(frame: Frame): Promise<LoadedFrame | null> {
    const key = frameKey(frame);
    const before = this.previews.get(key);
    const settled = this.settledOf(frame.instance.series);
    if (!settled || this.disposed) return Promise.resolve(before ?? null);
    const under = this.decoding.get(key);
    if (under) return under;
    const request = previewOf(settled, frame, before?.level)
      .then((image) => {
        if (!image) return before ?? null;
        if (!this.disposed) this.previews.put(key, image);
        return image;
      })
      .catch(() => before ?? null)
      .finally(() => this.decoding.delete(key));
    this.decoding.set(key, request);
    return request;
  }

  /** Fetch what is missing to show a frame at 1/2^level of its size. */
  async sharpen(frame: Frame, level: number): Promise<void> {
    await this.settledOf(frame.instance.series)?.sharpen(frame, level);
  }

  /** The frame in full, from memory, from a request under way, or from the server. */
  load(frame: Frame, urgent = true): Promise<LoadedFrame> {
    const found = this.peek(frame);
    if (found) return Promise.resolve(found);
    const key = frameKey(frame);
    const under = this.loading.get(key);
    if (under) return under.promise;
    const abort = new AbortController();
    const settled = this.settledOf(frame.instance.series);
    const promise = loadFrame(this.tenant, frame, { settled, signal: abort.signal, urgent })
      .then((image) => this.keep(key, image))
      .finally(() => {
        if (this.loading.get(key)?.abort === abort) this.loading.delete(key);
      });
    this.loading.set(key, { promise, abort });
    return promise;
  }

  /** What a viewport wants now, the nearest first: loads that no viewport wants any more are given up. */
  want(viewport: object, frames: readonly Frame[]): void {
    const missing = frames.map(frameKey).filter((key) => !this.finals.has(key));
    this.wants.set(viewport, new Set(missing.slice(0, NEAR)));
    for (const [key, { abort }] of this.loading) {
      if ([...this.wants.values()].some((wanted) => wanted.has(key))) continue;
      this.loading.delete(key);
      abort.abort();
    }
  }

  /** A viewport is gone and wants nothing. */
  leave(viewport: object): void {
    this.wants.delete(viewport);
  }

  /** Replace what is fetched ahead; the order is the order of the requests. */
  prefetch(frames: readonly Frame[]): void {
    const size = frames[0] ? frames[0].instance.layout.rows * frames[0].instance.layout.columns * 2 : 1;
    // Never fetch ahead more than fits, or the frames ahead would push out the ones just read.
    const room = Math.max(1, Math.floor((0.8 * this.finals.limit) / size));
    this.failures = 0;
    this.queue = frames.slice(0, room).filter((frame) => !this.finals.has(frameKey(frame)));
    this.pump();
  }

  dispose(): void {
    this.disposed = true;
    this.queue = [];
    for (const { abort } of this.loading.values()) abort.abort();
    this.finals.clear();
    this.previews.clear();
  }

  private pump(): void {
    while (this.prefetching < PARALLEL_PREFETCH) {
      const frame = this.queue.shift();
      if (!frame || this.disposed) return;
      if (this.finals.has(frameKey(frame))) continue;
      this.prefetching += 1;
      const next = (failed: boolean): void => {
        this.prefetching -= 1;
        this.failures = failed ? this.failures + 1 : 0;
        if (this.failures >= PREFETCH_FAILURES) this.queue = [];
        this.pump();
      };
      // A failure ahead of time is not shown: the frame is asked for again when it is looked at.
      this.load(frame, false).then(
        () => next(false),
        (error: unknown) => next(!isAbort(error)),
      );
    }
  }

  private keep(key: string, image: LoadedFrame): LoadedFrame {
    if (this.disposed) return image;
    this.finals.put(key, image);
    this.previews.drop(key);
    return image;
  }
}
