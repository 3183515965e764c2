/** Loaded frames within a memory budget, and a queue that fetches what will be looked at next. */
import type { Frame } from '../dicom-model/instance';
import { loadFrame, type LoadedFrame } from './images';

export const frameKey = (frame: Frame): string => `${frame.sop}#${frame.frame}`;

const PARALLEL_PREFETCH = 4;
/** Failures in a row after which fetching ahead stops: a server in trouble is not asked for more. */
const PREFETCH_FAILURES = 3;

const budget = (): number => (matchMedia('(pointer: coarse)').matches ? 128 : 512) * 1024 * 1024;

export class FrameCache {
  /** Insertion order is age: a frame that is used moves to the end. */
  private readonly loaded = new Map<string, LoadedFrame>();
  private readonly loading = new Map<string, Promise<LoadedFrame>>();
  private bytes = 0;
  private queue: Frame[] = [];
  private prefetching = 0;
  private failures = 0;
  private readonly life = new AbortController();

  constructor(
    private readonly tenant: string | null,
    private readonly limit = budget(),
  ) {}

  peek(frame: Frame): LoadedFrame | undefined {
    const key = frameKey(frame);
    const found = this.loaded.get(key);
    if (found) {
      this.loaded.delete(key);
      this.loaded.set(key, found);
    }
    return found;
  }

  /** The frame, from memory, from a request under way, or from the server. */
  load(frame: Frame): Promise<LoadedFrame> {
    const found = this.peek(frame);
    if (found) return Promise.resolve(found);
    const key = frameKey(frame);
    const under = this.loading.get(key);
    if (under) return under;
    const request = loadFrame(this.tenant, frame, this.life.signal)
      .then((image) => this.keep(key, image))
      .finally(() => this.loading.delete(key));
    this.loading.set(key, request);
    return request;
  }

  /** Replace what is fetched ahead; the order is the order of the requests. */
  prefetch(frames: readonly Frame[]): void {
    const size = frames[0] ? frames[0].instance.layout.rows * frames[0].instance.layout.columns * 2 : 1;
    // Never fetch ahead more than fits, or the frames ahead would push out the ones just read.
    const room = Math.max(1, Math.floor((0.8 * this.limit) / size));
    this.failures = 0;
    this.queue = frames.slice(0, room).filter((frame) => !this.loaded.has(frameKey(frame)));
    this.pump();
  }

  dispose(): void {
    this.queue = [];
    this.life.abort();
    this.loaded.clear();
    this.bytes = 0;
  }

  private pump(): void {
    while (this.prefetching < PARALLEL_PREFETCH) {
      const frame = this.queue.shift();
      if (!frame || this.life.signal.aborted) return;
      if (this.loaded.has(frameKey(frame))) continue;
      this.prefetching += 1;
      const next = (failed: boolean): void => {
        this.prefetching -= 1;
        this.failures = failed ? this.failures + 1 : 0;
        if (this.failures >= PREFETCH_FAILURES) this.queue = [];
        this.pump();
      };
      // A failure ahead of time is not shown: the frame is asked for again when it is looked at.
      this.load(frame).then(
        () => next(false),
        () => next(true),
      );
    }
  }

  private keep(key: string, image: LoadedFrame): LoadedFrame {
    this.loaded.set(key, image);
    this.bytes += image.bytes;
    for (const [oldKey, old] of this.loaded) {
      if (this.bytes <= this.limit || oldKey === key) break;
      this.loaded.delete(oldKey);
      this.bytes -= old.bytes;
    }
    return image;
  }
}
