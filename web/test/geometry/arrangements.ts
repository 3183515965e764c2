/** One patient recorded in every way along its axes: 24 ways to lay slices, and their order in space. */
import type { Vec3 } from '../../src/geometry/vec';

export interface Size {
  readonly count: number;
  readonly mm: number;
  readonly from: number;
}

/** Along the patient's x, y and z: voxels, their distance, and where the first has its centre. */
export const SIZES: readonly [Size, Size, Size] = [
  { count: 6, mm: 1, from: -20 },
  { count: 5, mm: 1.5, from: 7 },
  { count: 4, mm: 2.5, from: -3 },
];

export interface Arrangement {
  readonly name: string;
  readonly row: Vec3;
  readonly column: Vec3;
  /** Centres of the first pixels, in the order of `orderSlices`. */
  readonly slices: readonly Vec3[];
  readonly size: { readonly rows: number; readonly columns: number; readonly spacing: readonly [number, number] };
}

const unit = (axis: number, sign: number): Vec3 => [0, 1, 2].map((i) => (i === axis ? sign : 0)) as unknown as Vec3;

/** Head to foot, front to back, right to left. */
const ONWARD = [1, 1, -1];

export function* arrangements(): Generator<Arrangement> {
  for (const [across, down, through] of [[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0], [2, 1, 0]] as const) {
    for (const [a, b] of [[1, 1], [1, -1], [-1, 1], [-1, -1]] as const) {
      const first = [0, 0, 0];
      first[across] = end(SIZES[across], a);
      first[down] = end(SIZES[down], b);
      const { count, mm, from } = SIZES[through];
      const rising = Array.from({ length: count }, (_, k) => from + k * mm);
      const places = (ONWARD[through] as number) > 0 ? rising : rising.reverse();
      yield {
        name: `${a > 0 ? '+' : '-'}${'xyz'[across]} ${b > 0 ? '+' : '-'}${'xyz'[down]}`,
        row: unit(across, a),
        column: unit(down, b),
        slices: places.map((place) => first.map((x, axis) => (axis === through ? place : x)) as unknown as Vec3),
        size: { rows: SIZES[down].count, columns: SIZES[across].count, spacing: [SIZES[across].mm, SIZES[down].mm] },
      };
    }
  }
}

const end = ({ count, mm, from }: Size, sign: number): number => (sign > 0 ? from : from + (count - 1) * mm);
