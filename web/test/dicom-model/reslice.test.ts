import { describe, expect, it } from 'vitest';
import { writeSlice, type SliceValues } from '../../src/dicom-model/reslice';
import { combine, type Vec3 } from '../../src/geometry/vec';
import { atNumber, cutOf, gridOf, middleOf, type PlaneName, type VolumeGrid } from '../../src/geometry/volume';
import { arrangements, SIZES, type Arrangement } from '../geometry/arrangements';

/** A value that says where in the patient it was taken. */
const valueAt = ([x, y, z]: Vec3): number => 100 * x + 10 * y + z;

const positionIn = (axis: 0 | 1 | 2, n: number): number => SIZES[axis].from + n * SIZES[axis].mm;

function slicesOf({ row, column, slices, size }: Arrangement, { rows, columns } = size): SliceValues[] {
  const [across, down] = [(size.spacing[0] * size.columns) / columns, (size.spacing[1] * size.rows) / rows];
  return slices.map((first) => {
    // The corner of the first pixel is common to the whole slice and to a coarser one.
    const corner = combine(1, combine(1, first, (across - size.spacing[0]) / 2, row), (down - size.spacing[1]) / 2, column);
    const values = Float32Array.from({ length: rows * columns }, (_, i) =>
      valueAt(combine(1, combine(1, corner, (i % columns) * across, row), Math.floor(i / columns) * down, column)),
    );
    return { values, rows, columns };
  });
}

const gridFrom = ({ row, column, slices, size }: Arrangement): VolumeGrid =>
  gridOf(slices.map((position) => ({ position, axes: { row, column } })), size) as VolumeGrid;

/** Where in the patient a pixel of a plane lies that is the n-th when scrolling: by the patient's axes alone. */
const TRUTH: Record<PlaneName, (column: number, row: number, n: number) => Vec3> = {
  axial: (c, r, n) => [positionIn(0, c), positionIn(1, r), positionIn(2, SIZES[2].count - 1 - n)],
  coronal: (c, r, n) => [positionIn(0, c), positionIn(1, n), positionIn(2, SIZES[2].count - 1 - r)],
  sagittal: (c, r, n) => [positionIn(0, n), positionIn(1, c), positionIn(2, SIZES[2].count - 1 - r)],
};

function picture(arrangement: Arrangement, name: PlaneName, number: number, slices: readonly (SliceValues | null)[]): number[][] {
  const grid = gridFrom(arrangement);
  const cut = cutOf(grid, name);
  const at = atNumber(cut, middleOf(grid), number);
  const { rows, columns } = cut.extent;
  const out = new Float32Array(rows * columns).fill(-1);
  slices.forEach((slice, k) => writeSlice(cut, at, k, slice, arrangement.size, out));
  return Array.from({ length: rows }, (_, row) => [...out.subarray(row * columns, (row + 1) * columns)]);
}

const PLANE_NAMES: readonly PlaneName[] = ['axial', 'coronal', 'sagittal'];

describe('the picture of a plane', () => {
  it.each([...arrangements()])('has at each pixel the value of its place in the patient, recorded $name', (arrangement) => {
    for (const name of PLANE_NAMES) {
      for (const number of [0, 1, 3]) {
        const seen = picture(arrangement, name, number, slicesOf(arrangement));
        const truth = seen.map((line, row) => line.map((_, column) => valueAt(TRUTH[name](column, row, number))));
        expect(seen, `${name} ${number}`).toEqual(truth);
      }
    }
  });

  it.each([...arrangements()])('has the values of a preview in the same places, recorded $name', (arrangement) => {
    const { rows, columns } = arrangement.size;
    const coarse = slicesOf(arrangement, { ...arrangement.size, rows: Math.ceil(rows / 2), columns: Math.ceil(columns / 2) });
    for (const name of PLANE_NAMES) {
      const seen = picture(arrangement, name, 1, coarse);
      const truth = seen.map((line, row) => line.map((_, column) => valueAt(TRUTH[name](column, row, 1))));
      // Beyond the centres of the outermost pixels of the preview nothing is known: less than one of them.
      const most = 100 * SIZES[0].mm + 10 * SIZES[1].mm + SIZES[2].mm;
      seen.forEach((line, row) => line.forEach((value, column) => expect(Math.abs(value - (truth[row]?.[column] ?? NaN))).toBeLessThan(most)));
    }
  });

  it('lays a slope of a preview exactly where it is, between the centres of its pixels', () => {
    const axial = [...arrangements()].find(({ name }) => name === '+x +y') as Arrangement;
    const coarse = slicesOf(axial, { ...axial.size, columns: 3 });
    const [line] = picture(axial, 'axial', 0, coarse);
    const truth = [1, 2, 3, 4].map((column) => valueAt(TRUTH.axial(column, 0, 0)));
    expect(line?.slice(1, 5)).toEqual(truth.map((value) => expect.closeTo(value, 3)));
  });

  it('has nothing where a slice is missing, and keeps what lies beside it', () => {
    for (const arrangement of arrangements()) {
      const slices: (SliceValues | null)[] = slicesOf(arrangement);
      slices[1] = null;
      for (const name of PLANE_NAMES) {
        const through = cutOf(gridFrom(arrangement), name).through.axis === 2;
        const holes = picture(arrangement, name, 1, slices).flat().filter(Number.isNaN).length;
        const whole = picture(arrangement, name, 1, slicesOf(arrangement)).flat().length;
        expect(holes).toBe(through ? whole : whole / slices.length);
      }
    }
  });

  it('leaves out the slices that do not lie in it', () => {
    const axial = [...arrangements()].find(({ name }) => name === '+x +y') as Arrangement;
    const grid = gridFrom(axial);
    const out = new Float32Array(axial.size.rows * axial.size.columns).fill(-1);
    writeSlice(cutOf(grid, 'axial'), [0, 0, 2], 1, slicesOf(axial)[1] as SliceValues, axial.size, out);
    expect(new Set(out)).toEqual(new Set([-1]));
  });
});
