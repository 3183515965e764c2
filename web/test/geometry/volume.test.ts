import { describe, expect, it } from 'vitest';
import { edgeLabels } from '../../src/geometry/orientation';
import { dot, type Vec3 } from '../../src/geometry/vec';
import { UPRIGHT } from '../../src/geometry/view';
import {
  atNumber,
  atPlace,
  cutOf,
  gridOf,
  middleOf,
  numberOf,
  placeOn,
  pointOf,
  positionOf,
  type Index,
  type PlacedSlice,
  type PlaneName,
  type VolumeGrid,
} from '../../src/geometry/volume';
import { arrangements, SIZES, type Arrangement } from './arrangements';

const AXIAL: [Vec3, Vec3] = [[1, 0, 0], [0, 1, 0]];

const slicesAt = (positions: readonly Vec3[], [row, column] = AXIAL): PlacedSlice[] =>
  positions.map((position) => ({ position, axes: { row, column } }));

const heights = (...z: number[]): PlacedSlice[] => slicesAt(z.map((h): Vec3 => [0, 0, h]));

const SIZE = { rows: 30, columns: 40, spacing: [1, 1] } as const;

function gridFrom({ row, column, slices, size }: Arrangement): VolumeGrid {
  const grid = gridOf(slicesAt(slices, [row, column]), size);
  if ('kind' in grid) throw new Error(grid.kind);
  return grid;
}

/** What one looks at, by the patient's axes alone: to the right, to the bottom, and onwards when scrolling. */
const TRUTH: Record<PlaneName, { right: Vec3; down: Vec3; onward: Vec3; edges: string }> = {
  axial: { right: [1, 0, 0], down: [0, 1, 0], onward: [0, 0, -1], edges: 'RLAP' },
  coronal: { right: [1, 0, 0], down: [0, 0, -1], onward: [0, 1, 0], edges: 'RLHF' },
  sagittal: { right: [0, 1, 0], down: [0, 0, -1], onward: [1, 0, 0], edges: 'APHF' },
};

const scaled = (direction: Vec3): Vec3 => direction.map((part, axis) => part * (SIZES[axis] as { mm: number }).mm + 0) as unknown as Vec3;

const step = (grid: VolumeGrid, from: Index, to: Index): Vec3 => {
  const [a, b] = [pointOf(grid, from), pointOf(grid, to)];
  return b.map((x, i) => Number((x - (a[i] as number)).toFixed(6)) + 0) as unknown as Vec3;
};

describe('the planes of a volume', () => {
  it.each([...arrangements()])('lie as one looks at the patient, recorded $name', (arrangement) => {
    const grid = gridFrom(arrangement);
    const at = middleOf(grid);
    expect(grid.oblique).toBeCloseTo(0, 5);
    for (const [name, truth] of Object.entries(TRUTH) as [PlaneName, (typeof TRUTH)[PlaneName]][]) {
      const cut = cutOf(grid, name);
      const [column, row] = placeOn(cut, at);
      expect(step(grid, at, atPlace(cut, at, [column + 1, row])), `${name} right`).toEqual(scaled(truth.right));
      expect(step(grid, at, atPlace(cut, at, [column, row + 1])), `${name} down`).toEqual(scaled(truth.down));
      expect(step(grid, at, atNumber(cut, at, numberOf(cut, at) + 1)), `${name} onward`).toEqual(scaled(truth.onward));
      const labels = edgeLabels(cut.axes, UPRIGHT);
      expect(`${labels?.left}${labels?.right}${labels?.top}${labels?.bottom}`, name).toBe(truth.edges);
    }
  });

  it.each([...arrangements()])('have the size and place of the patient, recorded $name', (arrangement) => {
    const grid = gridFrom(arrangement);
    const [x, y, z] = SIZES;
    expect(cutOf(grid, 'axial').extent).toEqual({ columns: x.count, rows: y.count, spacing: [x.mm, y.mm] });
    expect(cutOf(grid, 'coronal').extent).toEqual({ columns: x.count, rows: z.count, spacing: [x.mm, z.mm] });
    expect(cutOf(grid, 'sagittal').extent).toEqual({ columns: y.count, rows: z.count, spacing: [y.mm, z.mm] });
    // The first plane of each kind lies at the end that is seen first.
    const first = (name: PlaneName): number => {
      const cut = cutOf(grid, name);
      return positionOf(grid, cut, atNumber(cut, middleOf(grid), 0));
    };
    expect(first('axial')).toBeCloseTo(z.from + (z.count - 1) * z.mm, 6);
    expect(first('coronal')).toBeCloseTo(y.from, 6);
    expect(first('sagittal')).toBeCloseTo(x.from, 6);
  });

  it('end where the volume ends', () => {
    const grid = gridFrom([...arrangements()][0] as Arrangement);
    const cut = cutOf(grid, 'coronal');
    const at = middleOf(grid);
    expect(numberOf(cut, atNumber(cut, at, -7))).toBe(0);
    expect(numberOf(cut, atNumber(cut, at, 1e9))).toBe(cut.through.count - 1);
    expect(placeOn(cut, atPlace(cut, at, [-3, 1e9]))).toEqual([0, cut.down.count - 1]);
  });

  it('of an oblique volume follow its own axes, and say how far they are off', () => {
    const [s, c] = [Math.sin(Math.PI / 15), Math.cos(Math.PI / 15)];
    const normal: Vec3 = [0, -s, c];
    const slices = [0, 1, 2, 3].map((k): Vec3 => [0, -s * 3 * k, c * 3 * k]);
    const grid = gridOf(slicesAt(slices, [[1, 0, 0], [0, c, s]]), SIZE) as VolumeGrid;
    expect(grid.oblique).toBeCloseTo(12, 6);
    const cut = cutOf(grid, 'axial');
    expect(dot(cut.normal, normal)).toBeCloseTo(1, 6);
    expect(positionOf(grid, cut, [7, 9, 2])).toBeCloseTo(6, 6);
    expect(edgeLabels(cutOf(grid, 'sagittal').axes, UPRIGHT)).toEqual({ left: 'AF', right: 'PH', top: 'HA', bottom: 'FP' });
  });
});

describe('the distance of slices', () => {
  it('comes from their positions', () => {
    const grid = gridOf(heights(9, 6.5, 4, 1.5), SIZE) as VolumeGrid;
    expect(grid.axes[2]).toEqual({ direction: [0, 0, -1], spacing: 2.5, count: 4 });
    expect(grid.axes[0].spacing).toBe(1);
  });

  it('may differ by one percent, but small errors must not add up', () => {
    expect(gridOf(heights(0, 5, 10.04, 15.04), SIZE)).toHaveProperty('origin');
    expect(gridOf(heights(0, 5, 10.2, 15.2), SIZE)).toEqual({ kind: 'uneven', least: expect.closeTo(5, 6), most: expect.closeTo(5.2, 6) });
    const creeping = Array.from({ length: 80 }, (_, k) => (k < 40 ? k * 0.995 : 40 * 0.995 + (k - 40) * 1.005));
    expect(gridOf(heights(...creeping), SIZE)).toMatchObject({ kind: 'uneven' });
  });

  it('names a missing slice, and how many there are', () => {
    expect(gridOf(heights(0, 2, 4, 8, 10), SIZE)).toEqual({ kind: 'gap', after: 2, missing: 1, places: 1 });
    expect(gridOf(heights(0, 2, 8, 10, 12, 16, 18), SIZE)).toEqual({ kind: 'gap', after: 1, missing: 2, places: 2 });
  });

  it('is not that of two images at one place, nor of too few', () => {
    expect(gridOf(heights(0, 2, 2, 4, 6), SIZE)).toEqual({ kind: 'doubled', slice: 1 });
    expect(gridOf(heights(0, 2), SIZE)).toEqual({ kind: 'few', count: 2 });
    expect(gridOf([], SIZE)).toEqual({ kind: 'few', count: 0 });
  });
});

describe('slices that are no volume', () => {
  it('are those of a tilted gantry, and single ones moved aside', () => {
    const t = Math.tan(Math.PI / 12);
    const tilted = gridOf(slicesAt([0, 1, 2, 3].map((k): Vec3 => [0, -5 * k * t, 5 * k])), SIZE);
    expect(tilted).toEqual({ kind: 'tilted', degrees: expect.closeTo(15, 6) });
    expect(gridOf(slicesAt([[0, 0, 0], [0, 0, 5], [3, 0, 10], [0, 0, 15]]), SIZE)).toEqual({ kind: 'shifted', slice: 2 });
  });

  it('do not lie parallel', () => {
    const [a, b, c] = heights(0, 5, 10) as [PlacedSlice, PlacedSlice, PlacedSlice];
    const turned = { ...b, axes: { row: [Math.cos(0.01), Math.sin(0.01), 0] as Vec3, column: [-Math.sin(0.01), Math.cos(0.01), 0] as Vec3 } };
    expect(gridOf([a, turned, c], SIZE)).toEqual({ kind: 'turned', slice: 1 });
  });

  it('lie too far off every axis of the patient', () => {
    const s = Math.SQRT1_2;
    const slices = [0, 1, 2].map((k): Vec3 => [0, -s * k, s * k]);
    expect(gridOf(slicesAt(slices, [[1, 0, 0], [0, s, s]]), SIZE)).toEqual({ kind: 'oblique', degrees: expect.closeTo(45, 6) });
  });
});
