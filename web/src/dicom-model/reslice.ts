/**
 * Planes of a volume, line by line from its slices. Planes go through the centres of voxels, so that a final slice
 * gives its values as they are; those of a preview lie in a straight line between its pixels.
 */
import type { Cut, CutAxis, Index } from '../geometry/volume';
import type { Grid } from './enlarge';
import type { GreyPixels } from './pixels';

/** Values of one slice, or fewer of them over the same area in a preview. */
export interface SliceValues extends Grid {
  readonly values: GreyPixels['values'];
}

/** Where values go: the first at `start`, the next `step` further. */
interface Target {
  readonly out: Float32Array;
  readonly start: number;
  readonly step: number;
}

/** The two samples beside a pixel of the whole slice, and how far it is from the first. */
function beside(n: number, samples: number, whole: number): readonly [low: number, high: number, part: number] {
  const place = Math.min(Math.max(0, ((n + 0.5) * samples) / whole - 0.5), samples - 1);
  const low = Math.floor(place);
  return [low, Math.min(low + 1, samples - 1), place - low];
}

/** One line of a slice: a row (`axis` 0) or a column (`axis` 1). */
function writeLine(slice: SliceValues, whole: Grid, axis: 0 | 1, line: number, { out, start, step }: Target): void {
  const { values, rows, columns } = slice;
  const count = axis === 0 ? whole.columns : whole.rows;
  const [along, across] = axis === 0 ? [1, columns] : [columns, 1];
  if (rows === whole.rows && columns === whole.columns) {
    for (let i = 0, from = line * across, to = start; i < count; i += 1, from += along, to += step) out[to] = values[from] as number;
    return;
  }
  const [samples, lines, all] = axis === 0 ? [columns, rows, whole.rows] : [rows, columns, whole.columns];
  const [first, second, between] = beside(line, lines, all);
  const [here, there] = [first * across, second * across];
  for (let i = 0, to = start; i < count; i += 1, to += step) {
    const [low, high, part] = beside(i, samples, count);
    const one = (values[low * along + here] as number) * (1 - part) + (values[high * along + here] as number) * part;
    const other = (values[low * along + there] as number) * (1 - part) + (values[high * along + there] as number) * part;
    out[to] = one * (1 - between) + other * between;
  }
}

function writeNothing(count: number, { out, start, step }: Target): void {
  for (let i = 0, to = start; i < count; i += 1, to += step) out[to] = NaN;
}

const placed = ({ reversed, count }: CutAxis, n: number): number => (reversed ? count - 1 - n : n);

/** A direction of the picture as a start and a step between its neighbours. */
const run = ({ reversed, count }: CutAxis, step: number): { start: number; step: number } =>
  reversed ? { start: (count - 1) * step, step: -step } : { start: 0, step };

/**
 * Write what slice `k` gives to the picture of the plane through a voxel: a line, the whole picture where slices
 * lie in the plane, or nothing where it is another one.
 *
 * @param slice null = nothing is here: not a number, which is drawn black.
 * @param out (rows, columns) of the picture.
 */
export function writeSlice(cut: Cut, at: Index, k: number, slice: SliceValues | null, whole: Grid, out: Float32Array): void {
  const { across, down, through } = cut;
  const width = across.count;
  const put = (axis: 0 | 1, line: number, count: number, target: Target): void =>
    slice ? writeLine(slice, whole, axis, line, target) : writeNothing(count, target);
  if (through.axis === 2) {
    if (k !== at[2]) return;
    const { start, step } = run(across, 1);
    for (let line = 0; line < down.count; line += 1) {
      put(across.axis as 0 | 1, line, width, { out, start: placed(down, line) * width + start, step });
    }
  } else if (across.axis === 2) {
    const { start, step } = run(down, width);
    put(down.axis as 0 | 1, at[through.axis], down.count, { out, start: placed(across, k) + start, step });
  } else {
    const { start, step } = run(across, 1);
    put(across.axis as 0 | 1, at[through.axis], width, { out, start: placed(down, k) * width + start, step });
  }
}
