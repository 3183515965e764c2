import { describe, expect, it } from 'vitest';
import { planeAxes } from '../../src/geometry/orientation';
import { orderSlices, type Positioned } from '../../src/geometry/sorting';
import type { Vec3 } from '../../src/geometry/vec';

function stack(iop: number[], positions: (Vec3 | null)[]): Positioned[] {
  return positions.map((position, i) => ({
    position,
    axes: planeAxes(iop),
    instanceNumber: i + 1,
    frame: 1,
    sop: `1.${i}`,
  }));
}

const numbers = (items: readonly Positioned[]): (number | null)[] => items.map((item) => item.instanceNumber);

describe('slices sort in space', () => {
  it('axial from head to foot, whatever the instance numbers and the sign of the normal', () => {
    const positions: Vec3[] = [[0, 0, 5], [0, 0, -5], [0, 0, 15]];
    expect(numbers(orderSlices(stack([1, 0, 0, 0, 1, 0], positions)).items)).toEqual([3, 1, 2]);
    expect(numbers(orderSlices(stack([-1, 0, 0, 0, 1, 0], positions)).items)).toEqual([3, 1, 2]);
  });

  it('coronal from front to back, sagittal from right to left', () => {
    const coronal = stack([1, 0, 0, 0, 0, -1], [[0, 9, 0], [0, -9, 0]]);
    expect(numbers(orderSlices(coronal).items)).toEqual([2, 1]);
    const sagittal = stack([0, 1, 0, 0, 0, -1], [[9, 0, 0], [-9, 0, 0]]);
    expect(numbers(orderSlices(sagittal).items)).toEqual([2, 1]);
  });

  it('by the projection on the normal, not by one coordinate', () => {
    const s = Math.SQRT1_2;
    const tilted: Vec3[] = [[0, 100, 0], [0, 0, 10], [0, -100, 21]];
    // The normal is (0, -s, s): the in-plane shift of 100 mm moves the first one most.
    const order = orderSlices(stack([1, 0, 0, 0, s, s], tilted));
    expect(numbers(order.items)).toEqual([3, 2, 1]);
    expect(order.basis).toBe('position');
  });

  it('falls back to the numbers, and says so, when one position is missing', () => {
    const order = orderSlices(stack([1, 0, 0, 0, 1, 0], [[0, 0, 0], null, [0, 0, -9]]));
    expect(order.basis).toBe('number');
    expect(numbers(order.items)).toEqual([1, 2, 3]);
    expect(order.spacing).toBeNull();
  });
});

describe('spacing', () => {
  const heights = (...z: number[]): Positioned[] => stack([1, 0, 0, 0, 1, 0], z.map((h): Vec3 => [0, 0, h]));

  it('is uniform within one percent', () => {
    expect(orderSlices(heights(0, -5, -10.04)).uniform).toBe(true);
    expect(orderSlices(heights(0, -5, -10.2)).uniform).toBe(false);
  });

  it('names the missing slice', () => {
    const order = orderSlices(heights(0, -2, -4, -8, -10));
    expect(order.spacing).toBe(2);
    expect(order.gaps).toEqual([2]);
    expect(order.uniform).toBe(false);
  });

  it('is unknown for one slice', () => {
    expect(orderSlices(heights(3)).spacing).toBeNull();
  });
});
