/** The slices of a volume as they come: coarse ones of all, then each in full, the nearest first. */
import { isAbort } from '../client/http';
import type { SettledSeries } from '../client/settled';
import type { Frame } from '../dicom-model/instance';
import { fillOrder } from '../store/filling';
import type { FrameCache } from './frame-cache';
import type { LoadedFrame } from './images';

const PARALLEL = 4;
/** The shown slice does not wait for those around it, however fast somebody scrolls. */
const PARALLEL_WITH_SHOWN = 7;
const DECODING = 8;
/** After so many failures in a row a server in trouble is not asked for more. */
const FAILURES = 3;

/** A device where memory is small is given less of it. */
export function volumeLimit(): number {
  const MB = 1024 * 1024;
  if (matchMedia('(pointer: coarse)').matches) return 192 * MB;
  const { deviceMemory = 8 } = navigator as { readonly deviceMemory?: number };
  return (deviceMemory < 4 ? 384 : 1024) * MB;
}

export class VolumeFill {
  /** The best that is here of each slice. It is held here, whatever the cache forgets. */
  readonly slices: (LoadedFrame | null)[];
  /** Slices that did not come, with the reason. */
  readonly failures = new Map<number, unknown>();
  private readonly settled: SettledSeries | null;
  private readonly stopListening: () => void;
  private readonly loading = new Set<number>();
  private order: readonly number[] = [];
  private shown = 0;
  private inARow = 0;
  private sweeping = false;
  private again = false;
  private disposed = false;

  /** @param changed a slice is here, or better, or has failed. */
  constructor(
    private readonly frames: readonly Frame[],
    private readonly cache: FrameCache,
    private readonly changed: (slice: number) => void,
  ) {
    this.slices = frames.map((frame) => cache.peek(frame) ?? cache.peekPreview(frame) ?? null);
    this.settled = cache.settledOf(frames[0]?.instance.series ?? '');
    this.stopListening = this.settled?.listen(() => this.previewsCame()) ?? (() => undefined);
  }

  dispose(): void {
    this.disposed = true;
    this.stopListening();
    this.cache.want(this, []);
    this.cache.leave(this);
    this.slices.fill(null);
  }

  /** Fill from this slice outward; what is on its way and far from here is given up. */
  aim(shown: number, direction: -1 | 0 | 1): void {
    const first = this.order.length === 0;
    this.shown = shown;
    this.order = fillOrder(this.frames.length, shown, direction);
    this.cache.want(this, this.order.filter((k) => !this.isWhole(k)).map((k) => this.frames[k] as Frame));
    if (first) this.previewsCame();
    else this.pump();
  }

  /** Ask again for what has failed. */
  retry(): void {
    this.failures.clear();
    this.inARow = 0;
    this.pump();
  }

  /** Everything of the slice is here, if perhaps in a lossy form. */
  private isWhole(k: number): boolean {
    return this.slices[k]?.level === 0;
  }

  private previewsCame(): void {
    this.again = true;
    if (!this.sweeping) void this.sweep();
    this.pump();
  }

  /** Decode what is here of every slice, and again when more has come meanwhile. */
  private async sweep(): Promise<void> {
    this.sweeping = true;
    while (this.again && this.settled && !this.disposed) {
      this.again = false;
      const waiting = new Set(this.order);
      const lane = async (): Promise<void> => {
        for (let k = this.nextOf(waiting); k !== undefined && !this.disposed; k = this.nextOf(waiting)) {
          waiting.delete(k);
          if (!this.isWhole(k)) this.take(k, await this.cache.preview(this.frames[k] as Frame));
        }
      };
      await Promise.all(Array.from({ length: DECODING }, lane));
    }
    this.sweeping = false;
  }

  private nextOf(waiting: ReadonlySet<number>): number | undefined {
    return this.order.find((k) => waiting.has(k));
  }

  /** A slice takes the place of nothing and of coarser ones. */
  private take(k: number, image: LoadedFrame | null): void {
    const before = this.slices[k];
    if (this.disposed || !image || (before && before.level <= image.level)) return;
    this.slices[k] = image;
    this.changed(k);
  }

  private isWanted(k: number): boolean {
    return !this.isWhole(k) && !this.loading.has(k) && !this.failures.has(k);
  }

  private pump(): void {
    if (this.disposed) return;
    // What is looked at is always asked for: with its first answer everything else is again, too.
    if (this.loading.size < PARALLEL_WITH_SHOWN && this.isWanted(this.shown)) this.fetch(this.shown);
    if (this.inARow >= FAILURES) return;
    // The others would only slow down what makes all of them visible.
    if (this.settled?.stage === 'arriving') return;
    while (this.loading.size < PARALLEL) {
      const next = this.order.find((k) => this.isWanted(k));
      if (next === undefined) return;
      this.fetch(next);
    }
  }

  private fetch(k: number): void {
    this.loading.add(k);
    this.cache
      .load(this.frames[k] as Frame, k === this.shown)
      .then(
        (image) => {
          this.inARow = 0;
          this.take(k, image);
        },
        (error: unknown) => this.failed(k, error),
      )
      .finally(() => {
        this.loading.delete(k);
        this.pump();
      });
  }

  private failed(k: number, error: unknown): void {
    if (this.disposed || isAbort(error)) return;
    this.inARow += 1;
    this.failures.set(k, error);
    this.changed(k);
  }
}
