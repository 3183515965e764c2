/** A coarse level of an image, laid out over exactly the area of the whole image. */
import type { Samples } from './pixels';

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

export const atLevel = (full: Grid, level: number): Grid => ({
  rows: Math.ceil(full.rows / 2 ** level),
  columns: Math.ceil(full.columns / 2 ** level),
});

const ROOMY = 512 * 512;

/** Twice as fine as the level itself, as long as that is cheap: moving by parts of a pixel blurs less. */
export function gridOver(full: Grid, level: number): Grid {
  const coarse = atLevel(full, level);
  const factor = level > 0 && coarse.rows * coarse.columns <= ROOMY ? 2 : 1;
  return {
    rows: Math.min(full.rows, coarse.rows * factor),
    columns: Math.min(full.columns, coarse.columns * factor),
  };
}

interface Step {
  readonly low: number;
  readonly high: number;
  readonly part: number;
}

/** Where each pixel of the new grid lies between the samples of the level, along one side. */
function steps(full: number, coarse: number, out: number, level: number): Step[] {
  return Array.from({ length: out }, (_, i) => {
    const place = (((i + 0.5) * full) / out - 0.5) / 2 ** level;
    const at = Math.min(Math.max(0, place), coarse - 1);
    const low = Math.floor(at);
    return { low, high: Math.min(low + 1, coarse - 1), part: at - low };
  });
}

/**
 * Sample n of a wavelet level lies on pixel n * 2^level of the whole image, so that a level drawn
 * as it is would be shifted by up to half a coarse pixel and end somewhere else. Here each pixel
 * of `gridOver` is interpolated at its own place, and the image covers what the whole one covers.
 */
export function enlarged<T extends Samples>(samples: T, full: Grid, level: number, components: number): T {
  const coarse = atLevel(full, level);
  const grid = gridOver(full, level);
  const out = new (samples.constructor as new (length: number) => T)(grid.rows * grid.columns * components);
  const across = steps(full.columns, coarse.columns, grid.columns, level);
  const down = steps(full.rows, coarse.rows, grid.rows, level);
  let to = 0;
  for (const y of down) {
    const [upper, lower] = [y.low * coarse.columns, y.high * coarse.columns];
    for (const x of across) {
      for (let c = 0; c < components; c += 1) {
        const at = (row: number, column: number): number => samples[(row + column) * components + c] as number;
        const top = at(upper, x.low) * (1 - x.part) + at(upper, x.high) * x.part;
        const bottom = at(lower, x.low) * (1 - x.part) + at(lower, x.high) * x.part;
        out[to] = Math.round(top * (1 - y.part) + bottom * y.part);
        to += 1;
      }
    }
  }
  return out;
}
