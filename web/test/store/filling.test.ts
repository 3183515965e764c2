import { describe, expect, it } from 'vitest';
import { cutOf, gridOf, type PlaneName, type VolumeGrid } from '../../src/geometry/volume';
import { fillOrder, progressOf, type SliceState } from '../../src/store/filling';

describe('the order in which slices are fetched', () => {
  it('goes outward from the shown one, to both sides alike before anybody has scrolled', () => {
    expect(fillOrder(7, 3, 0)).toEqual([3, 4, 2, 5, 1, 6, 0]);
  });

  it('goes on faster in the direction of scrolling', () => {
    expect(fillOrder(10, 4, 1)).toEqual([4, 5, 6, 3, 7, 8, 2, 9, 1, 0]);
    expect(fillOrder(10, 4, -1)).toEqual([4, 3, 2, 5, 1, 0, 6, 7, 8, 9]);
  });

  it.each([0, 1, 5, 8])('has each slice once, from %i on', (shown) => {
    for (const direction of [-1, 0, 1] as const) {
      const order = fillOrder(9, shown, direction);
      expect(order[0]).toBe(shown);
      expect([...order].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
  });
});

const FINAL: SliceState = { final: true, level: 0 };
const COARSE: SliceState = { final: false, level: 3 };
/** All of it is here, but in a lossy form of what is stored. */
const LOSSY: SliceState = { final: false, level: 0 };

function gridAs(row: [number, number, number], column: [number, number, number], step: [number, number, number]): VolumeGrid {
  const slices = [0, 1, 2].map((k) => ({ position: step.map((x) => x * k) as [number, number, number], axes: { row, column } }));
  return gridOf(slices, { rows: 4, columns: 4, spacing: [1, 1] }) as VolumeGrid;
}

const AXIAL = gridAs([1, 0, 0], [0, 1, 0], [0, 0, -2]);
const CORONAL = gridAs([1, 0, 0], [0, 0, -1], [0, 2, 0]);

describe('a plane is final', () => {
  const final = (grid: VolumeGrid, name: PlaneName, slice: number, slices: readonly SliceState[]): boolean =>
    progressOf(cutOf(grid, name), [1, 1, slice], slices).final;

  it('with its own slice, where slices lie in it', () => {
    expect(final(AXIAL, 'axial', 1, [COARSE, FINAL, null])).toBe(true);
    expect(final(AXIAL, 'axial', 0, [COARSE, FINAL, FINAL])).toBe(false);
    expect(final(CORONAL, 'coronal', 1, [COARSE, FINAL, null])).toBe(true);
  });

  it('with all slices, where it cuts through all of them', () => {
    for (const [grid, names] of [[AXIAL, ['coronal', 'sagittal']], [CORONAL, ['axial', 'sagittal']]] as const) {
      for (const name of names) {
        expect(final(grid, name, 1, [FINAL, FINAL, FINAL])).toBe(true);
        for (const less of [COARSE, LOSSY, null]) {
          expect(final(grid, name, 1, [FINAL, FINAL, less])).toBe(false);
          expect(final(grid, name, 1, [less, FINAL, FINAL])).toBe(false);
        }
      }
    }
  });

  it('never of nothing', () => {
    expect(final(AXIAL, 'coronal', 0, [])).toBe(false);
    expect(final(AXIAL, 'axial', 7, [FINAL])).toBe(false);
  });
});

it('says how far a plane is', () => {
  const coronal = cutOf(AXIAL, 'coronal');
  expect(progressOf(coronal, [0, 0, 0], [FINAL, COARSE, null])).toEqual({ touched: 3, finals: 1, missing: 1, level: 3, final: false });
  expect(progressOf(cutOf(AXIAL, 'axial'), [0, 0, 1], [FINAL, COARSE, null])).toMatchObject({ touched: 1, finals: 0, level: 3 });
});
