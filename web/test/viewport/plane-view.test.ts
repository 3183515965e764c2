import { describe, expect, it } from 'vitest';
import { atPlace, cutOf, gridOf, placeOn, type Index, type PlaneName, type VolumeGrid } from '../../src/geometry/volume';
import { onScreen, underPoint } from '../../src/viewport/plane-view';
import { arrangements } from '../geometry/arrangements';

describe('pointing at a plane', () => {
  it.each([...arrangements()])('finds the voxel that is drawn under the pointer, recorded $name', ({ row, column, slices, size }) => {
    const grid = gridOf(slices.map((position) => ({ position, axes: { row, column } })), size) as VolumeGrid;
    const at: Index = [1, 2, 3];
    for (const name of ['axial', 'coronal', 'sagittal'] satisfies PlaneName[]) {
      const cut = cutOf(grid, name);
      const lie = { zoom: 1.3, pan: [20, -9], box: { width: 480, height: 350 } } as const;
      const [x, y] = onScreen(cut, lie, placeOn(cut, at));
      const elsewhere = at.map((n, axis) => (axis === cut.through.axis ? n : 0)) as unknown as Index;
      expect(atPlace(cut, elsewhere, underPoint(cut, lie, [x - 240, y - 175])), name).toEqual(at);
    }
  });
});
