import { describe, expect, it } from 'vitest';
import { greyPixels, storedBits, tableEntries, unpackBits } from '../../src/dicom-model/pixels';
import { curvePoints, defaultVoi, histogramRange, rangeOf } from '../../src/dicom-model/voi';
import { element, frameOf } from './objects';

const ramp = (): Uint16Array => Uint16Array.from({ length: 16 }, (_, i) => i * 100);

describe('grey values', () => {
  it('are stored values times slope plus intercept', () => {
    const pixels = greyPixels(frameOf(), ramp(), null);
    expect(pixels.values).toBeInstanceOf(Int16Array);
    expect([pixels.min, pixels.max, pixels.unit]).toEqual([-1024, 476, 'HU']);
  });

  it('keep fractions', () => {
    const pixels = greyPixels(frameOf({ '00281053': element(0.25) }), ramp(), null);
    expect(pixels.values).toBeInstanceOf(Float32Array);
    expect(pixels.values[1]).toBe(-999);
  });

  it('come from the table when there is one, clamped at its ends', () => {
    const item = { '00283002': element(3, 100, 16), '00283006': element(7, 8, 9) };
    const frame = frameOf({ '00283000': { Value: [item] } });
    const table = frame.modalityTransform.table;
    expect(table?.firstInput).toBe(100);
    const pixels = greyPixels(frame, ramp(), Uint16Array.from([7, 8, 9]));
    expect([...pixels.values.slice(0, 3)]).toEqual([7, 7, 9]);
  });

  it('refuse a frame shorter than its header says', () => {
    expect(() => greyPixels(frameOf(), new Uint16Array(15), null)).toThrow(/shorter/);
  });

  it('know padding after the transform', () => {
    const pixels = greyPixels(frameOf({ '00280120': element(0) }), ramp(), null);
    expect(pixels.isPadding(-1024)).toBe(true);
    expect(pixels.isPadding(0)).toBe(false);
    expect(greyPixels(frameOf(), ramp(), null).isPadding(0)).toBe(false);
  });
});

describe('stored bits', () => {
  const { layout } = frameOf().instance;

  it('drop overlay bits above the stored ones', () => {
    expect([...storedBits(Uint16Array.of(0xf123), layout)]).toEqual([0x123]);
  });

  it('keep the sign and honour the high bit', () => {
    const signed = { ...layout, signed: true };
    expect([...storedBits(Int16Array.of(0x0fff, 0x07ff), signed)]).toEqual([-1, 2047]);
    expect([...storedBits(Uint16Array.of(0x1230), { ...layout, highBit: 15 })]).toEqual([0x123]);
  });

  it('unpack single bits from the lowest', () => {
    expect([...unpackBits(Uint8Array.of(0b00000101, 1), 10)]).toEqual([1, 0, 1, 0, 0, 0, 0, 0, 1, 0]);
  });
});

it('tables are read as bytes or little-endian words, by their length', () => {
  const table = { entries: 3, firstInput: 0, bits: 16, data: [] };
  expect([...tableEntries(table, Uint8Array.of(1, 0, 2, 0, 0, 1))]).toEqual([1, 2, 256]);
  expect([...tableEntries(table, Uint8Array.of(1, 2, 3))]).toEqual([1, 2, 3]);
  expect([...tableEntries(table, [4, 5])]).toEqual([4, 5, 5]);
  expect([...tableEntries(table, new Uint8Array(0))]).toEqual([0, 0, 0]);
});

describe('the first window', () => {
  it('is the VOI LUT, else the recorded window, else the histogram', () => {
    const pixels = greyPixels(frameOf(), ramp(), null);
    const table = { firstInput: 0, output: Float32Array.of(0, 1) };
    expect(defaultVoi(frameOf(), pixels, table)).toEqual({ kind: 'table', table });
    expect(defaultVoi(frameOf(), pixels, null)).toMatchObject({ window: { centre: 40, width: 400 } });
    const none = frameOf({ '00281050': element(), '00281051': element() });
    const range = rangeOf(defaultVoi(none, pixels, null));
    expect(range.lower).toBeCloseTo(-1024, 0);
    expect(range.upper).toBeCloseTo(476, 0);
  });

  it('leaves padding and broken values out of the histogram', () => {
    const values = [...Array<number>(500).fill(-2000), ...Array.from({ length: 500 }, (_, i) => i), NaN];
    const range = histogramRange(values, -2000, 499, (value) => value === -2000);
    expect(range.lower).toBeGreaterThan(-5);
    expect(range.upper).toBeGreaterThan(480);
    expect(histogramRange([5, 5], 5, 5, () => false)).toEqual({ lower: 5, upper: 6 });
  });
});

describe('grey curves', () => {
  it('a window is a line between its ends', () => {
    const voi = { kind: 'window', window: { centre: 50, width: 100, shape: 'LINEAR_EXACT' } } as const;
    expect(curvePoints(voi, rangeOf(voi))).toEqual([
      [0, 0],
      [100, 1],
    ]);
  });

  it('a sigmoid is half at its centre and rises', () => {
    const voi = { kind: 'window', window: { centre: 50, width: 100, shape: 'SIGMOID' } } as const;
    const points = curvePoints(voi, rangeOf(voi));
    const middle = points[Math.floor(points.length / 2)] as [number, number];
    expect(middle[0]).toBeCloseTo(50, 0);
    expect(middle[1]).toBeCloseTo(0.5, 1);
    expect(points.every(([, grey], i) => i === 0 || grey >= (points[i - 1]?.[1] ?? 0))).toBe(true);
  });

  it('a table keeps its outputs at its inputs', () => {
    const voi = { kind: 'table', table: { firstInput: 10, output: Float32Array.of(0, 1, 0) } } as const;
    const points = curvePoints(voi, rangeOf(voi));
    expect(points[0]).toEqual([10, 0]);
    expect(points.at(-1)).toEqual([12, 0]);
    expect(Math.max(...points.map(([, grey]) => grey))).toBe(1);
  });
});
