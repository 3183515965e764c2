import { describe, expect, it } from 'vitest';
import type { Frame } from '../../src/dicom-model/instance';
import type { FrameCache } from '../../src/viewport/frame-cache';
import type { LoadedFrame } from '../../src/viewport/images';
import { VolumeFill } from '../../src/viewport/volume-fill';
import { at } from '../dicom-model/objects';

const COUNT = 12;
const FRAMES = Array.from({ length: COUNT }, (_, n) => at(-5 * n, n));

const image = (frame: Frame, level: number): LoadedFrame => ({ frame, level, final: level === 0 }) as unknown as LoadedFrame;

interface Asked {
  readonly slice: number;
  readonly urgent: boolean;
  readonly come: () => void;
  readonly fail: (error: unknown) => void;
}

/** A cache that answers when a test says so. */
class FakeCache {
  readonly settled = {
    stage: 'complete' as 'arriving' | 'complete',
    listen: (listener: () => void) => {
      this.tell = listener;
      return () => undefined;
    },
  };
  /** Level of the previews that are here; null = none. */
  level: number | null = null;
  asked: Asked[] = [];
  wanted: readonly Frame[] = [];
  private tell: () => void = () => undefined;

  settledOf = (): unknown => this.settled;
  peek = (): undefined => undefined;
  peekPreview = (): undefined => undefined;
  preview = (frame: Frame): Promise<LoadedFrame | null> => Promise.resolve(this.level === null ? null : image(frame, this.level));
  leave = (): void => undefined;

  want = (_: object, frames: readonly Frame[]): void => {
    this.wanted = frames;
  };

  load = (frame: Frame, urgent: boolean): Promise<LoadedFrame> =>
    new Promise((resolve, reject) => {
      this.asked.push({ slice: FRAMES.indexOf(frame), urgent, come: () => resolve(image(frame, 0)), fail: reject });
    });

  /** More of the preview has come. */
  arrive(stage: 'arriving' | 'complete', level: number): void {
    [this.settled.stage, this.level] = [stage, level];
    this.tell();
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 40; i += 1) await Promise.resolve();
};

function filling(cache: FakeCache): VolumeFill {
  return new VolumeFill(FRAMES, cache as unknown as FrameCache, () => undefined);
}

const levels = (fill: VolumeFill): (number | null)[] => fill.slices.map((slice) => slice?.level ?? null);
const slices = (cache: FakeCache): number[] => cache.asked.map(({ slice }) => slice);

describe('a volume fills', () => {
  it('with the preview first, while only the shown slice is fetched in full', async () => {
    const cache = new FakeCache();
    cache.settled.stage = 'arriving';
    const fill = filling(cache);
    fill.aim(5, 0);
    cache.arrive('arriving', 4);
    await settle();
    expect(levels(fill)).toEqual(Array(COUNT).fill(4));
    expect(slices(cache)).toEqual([5]);
    expect(cache.asked[0]?.urgent).toBe(true);
    cache.arrive('complete', 3);
    await settle();
    expect(levels(fill)).toEqual(Array(COUNT).fill(3));
    expect(slices(cache)).toEqual([5, 6, 4, 7]);
    expect(cache.asked[1]?.urgent).toBe(false);
  });

  it('from the shown slice on, and a final slice is never replaced by a coarse one', async () => {
    const cache = new FakeCache();
    const fill = filling(cache);
    fill.aim(5, 1);
    cache.asked[0]?.come();
    await settle();
    expect(slices(cache)).toEqual([5, 6, 7, 4, 8]);
    cache.arrive('complete', 3);
    await settle();
    expect(levels(fill)).toEqual([3, 3, 3, 3, 3, 0, 3, 3, 3, 3, 3, 3]);
  });

  it('elsewhere after a jump: the shown slice does not wait for those under way', () => {
    const cache = new FakeCache();
    const fill = filling(cache);
    fill.aim(5, 0);
    expect(slices(cache)).toEqual([5, 6, 4, 7]);
    fill.aim(11, 1);
    expect(slices(cache)).toEqual([5, 6, 4, 7, 11]);
    expect(cache.asked[4]?.urgent).toBe(true);
    expect(cache.wanted[0]).toBe(FRAMES[11]);
  });

  it('again with what was given up, which is no failure', async () => {
    const cache = new FakeCache();
    const fill = filling(cache);
    fill.aim(0, 0);
    cache.asked[1]?.fail(new DOMException('given up', 'AbortError'));
    await settle();
    expect(fill.failures.size).toBe(0);
    expect(slices(cache)).toEqual([0, 1, 2, 3, 1]);
  });

  it('past a slice that fails, but not on against a server in trouble; then again when asked', async () => {
    const cache = new FakeCache();
    const fill = filling(cache);
    fill.aim(0, 0);
    cache.asked[0]?.fail(new Error('gone'));
    await settle();
    expect(slices(cache)).toEqual([0, 1, 2, 3, 4]);
    cache.asked[1]?.fail(new Error('gone'));
    cache.asked[2]?.fail(new Error('gone'));
    await settle();
    const before = cache.asked.length;
    cache.asked[3]?.fail(new Error('gone'));
    await settle();
    expect(cache.asked).toHaveLength(before);
    expect([...fill.failures.keys()]).toEqual([0, 1, 2, 3]);
    fill.retry();
    expect(fill.failures.size).toBe(0);
    expect(slices(cache).slice(before)[0]).toBe(0);
  });

  it('no more when it is left', async () => {
    const cache = new FakeCache();
    const fill = filling(cache);
    fill.aim(3, 0);
    const before = cache.asked.length;
    fill.dispose();
    for (const { come } of cache.asked) come();
    await settle();
    expect(cache.asked).toHaveLength(before);
    expect(levels(fill)).toEqual(Array(COUNT).fill(null));
    expect(cache.wanted).toEqual([]);
  });
});
