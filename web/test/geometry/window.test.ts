import { describe, expect, it } from 'vitest';
import { CT_PRESETS, draggedWindow, windowOfRange, windowRange } from '../../src/geometry/window';

describe('window range', () => {
  it('follows the half-pixel formula of PS3.3 C.11.2.1.2.1', () => {
    expect(windowRange({ centre: 2048, width: 4096, shape: 'LINEAR' })).toEqual({ lower: 0, upper: 4095 });
    expect(windowRange({ centre: 0, width: 100, shape: 'LINEAR' })).toEqual({ lower: -50, upper: 49 });
  });

  it('is exact when asked, and for widths that the other formula cannot express', () => {
    expect(windowRange({ centre: 0, width: 100, shape: 'LINEAR_EXACT' })).toEqual({ lower: -50, upper: 50 });
    expect(windowRange({ centre: 0.5, width: 0.5, shape: 'LINEAR' })).toEqual({ lower: 0.25, upper: 0.75 });
  });

  it('goes back and forth', () => {
    expect(windowRange(windowOfRange(-3, 9))).toEqual({ lower: -3, upper: 9 });
  });
});

describe('dragging', () => {
  const start = { centre: 40, width: 400, shape: 'LINEAR' as const };

  it('right widens, down raises the centre, and the width never vanishes', () => {
    const dragged = draggedWindow(start, 10, 5, 4096);
    expect(dragged.width).toBeGreaterThan(400);
    expect(dragged.centre).toBeGreaterThan(40);
    expect(draggedWindow(start, -1e9, 0, 4096).width).toBe(1);
  });
});

it('presets have their own keys and plausible values', () => {
  expect(new Set(CT_PRESETS.map((preset) => preset.key)).size).toBe(CT_PRESETS.length);
  expect(CT_PRESETS.every((preset) => preset.width > 0 && Math.abs(preset.centre) < 2000)).toBe(true);
});
