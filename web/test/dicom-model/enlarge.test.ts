import { describe, expect, it } from 'vitest';
import { atLevel, enlarged, gridOver } from '../../src/dicom-model/enlarge';

describe('a level over the area of the whole image', () => {
  it('has the size of the wavelet, and a grid of at most the whole image', () => {
    expect(atLevel({ rows: 513, columns: 30 }, 3)).toEqual({ rows: 65, columns: 4 });
    expect(gridOver({ rows: 512, columns: 512 }, 4)).toEqual({ rows: 64, columns: 64 });
    expect(gridOver({ rows: 3, columns: 9 }, 1)).toEqual({ rows: 3, columns: 9 });
    expect(gridOver({ rows: 3000, columns: 2500 }, 2)).toEqual({ rows: 750, columns: 625 });
  });

  it('keeps every point of a slope where it is in the whole image', () => {
    const full = { rows: 64, columns: 96 };
    const level = 3;
    const coarse = atLevel(full, level);
    // Sample n of the level lies on pixel 8 n of the image.
    const samples = Float32Array.from({ length: coarse.rows * coarse.columns }, (_, i) => {
      const [y, x] = [Math.floor(i / coarse.columns), i % coarse.columns];
      return 1000 * (8 * x) + 8 * y;
    });
    const grid = gridOver(full, level);
    const out = enlarged(samples, full, level, 1);
    for (let y = 1; y < grid.rows - 2; y += 1) {
      for (let x = 1; x < grid.columns - 2; x += 1) {
        const column = ((x + 0.5) * full.columns) / grid.columns - 0.5;
        const row = ((y + 0.5) * full.rows) / grid.rows - 0.5;
        expect(Math.abs((out[y * grid.columns + x] as number) - (1000 * column + row))).toBeLessThanOrEqual(0.5);
      }
    }
  });

  it('keeps the colours of interleaved pixels apart, and the type of the samples', () => {
    const out = enlarged(Uint8Array.from([10, 20, 30, 10, 20, 30]), { rows: 2, columns: 4 }, 1, 3);
    expect(out).toBeInstanceOf(Uint8Array);
    expect([...out.slice(0, 3)]).toEqual([10, 20, 30]);
    expect(out.length).toBe(2 * 4 * 3);
    expect([...enlarged(Int16Array.from([-5]), { rows: 2, columns: 2 }, 1, 1)]).toEqual([-5, -5, -5, -5]);
  });
});
