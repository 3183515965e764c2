/** The first window of an image (clinical 6): VOI LUT, then window, then histogram without padding. */
import { windowOfRange, windowRange, type Window } from '../geometry/window';
import type { Frame } from './instance';
import type { GreyPixels } from './pixels';

export type Voi =
  | { readonly kind: 'window'; readonly window: Window }
  | { readonly kind: 'table'; readonly table: VoiCurve };

/** A VOI lookup table ready to draw: output 0..1 for consecutive input values. */
export interface VoiCurve {
  readonly firstInput: number;
  readonly output: Float32Array;
}

const BINS = 2048;

/** Range between two fractions of the values, padding and non-finite values left out. */
export function histogramRange(
  values: ArrayLike<number>,
  min: number,
  max: number,
  isPadding: (value: number) => boolean,
): { lower: number; upper: number } {
  if (!(max > min)) return { lower: min, upper: min + 1 };
  const bins = new Uint32Array(BINS);
  const scale = (BINS - 1) / (max - min);
  let count = 0;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (!Number.isFinite(value) || isPadding(value)) continue;
    const bin = Math.round((value - min) * scale);
    bins[bin] = (bins[bin] ?? 0) + 1;
    count += 1;
  }
  const at = (fraction: number): number => {
    let seen = 0;
    for (let bin = 0; bin < BINS; bin += 1) {
      seen += bins[bin] ?? 0;
      if (seen >= fraction * count) return min + bin / scale;
    }
    return max;
  };
  const [lower, upper] = [at(0.005), at(0.995)];
  return upper > lower ? { lower, upper } : { lower: min, upper: max };
}

export function defaultVoi(frame: Frame, pixels: GreyPixels, table: VoiCurve | null): Voi {
  if (pixels.unit === 'SUV') return { kind: 'window', window: windowOfRange(0, 7) };
  if (table) return { kind: 'table', table };
  const recorded = frame.windows[0];
  if (recorded && !pixels.scaled) return { kind: 'window', window: recorded };
  const range = histogramRange(pixels.values, pixels.min, pixels.max, pixels.isPadding);
  return { kind: 'window', window: windowOfRange(range.lower, range.upper) };
}

const tableRange = (table: VoiCurve): { lower: number; upper: number } => ({
  lower: table.firstInput,
  upper: table.firstInput + Math.max(1, table.output.length - 1),
});

/** Input range that a VOI covers from black to white. */
export function rangeOf(voi: Voi): { lower: number; upper: number } {
  if (voi.kind === 'table') return tableRange(voi.table);
  if (voi.window.shape !== 'SIGMOID') return windowRange(voi.window);
  // A sigmoid never ends; beyond two widths it is within 0.04 % of its limits.
  const { centre, width } = voi.window;
  return { lower: centre - 2 * width, upper: centre + 2 * width };
}

/** A VOI as a linear window, to go on from when the user starts to drag. */
export const windowFrom = (voi: Voi): Window => {
  if (voi.kind === 'window') return voi.window;
  const { lower, upper } = rangeOf(voi);
  return windowOfRange(lower, upper);
};

const SAMPLES = 257;

/** Points (value, grey 0..1) of the grey curve of a VOI (PS3.3 C.11.2.1). */
export function curvePoints(voi: Voi, range: { lower: number; upper: number }): [number, number][] {
  if (voi.kind === 'window' && voi.window.shape !== 'SIGMOID') {
    return [
      [range.lower, 0],
      [range.upper, 1],
    ];
  }
  return Array.from({ length: SAMPLES }, (_, i): [number, number] => {
    const part = i / (SAMPLES - 1);
    const value = range.lower + part * (range.upper - range.lower);
    if (voi.kind === 'window') {
      const { centre, width } = voi.window;
      return [value, 1 / (1 + Math.exp((-4 * (value - centre)) / width))];
    }
    const at = Math.round(part * (voi.table.output.length - 1));
    return [value, voi.table.output[at] ?? 0];
  });
}
