import { describe, expect, it } from 'vitest';
import { BLACK, colourWords, lineOf, Shading, shadeTable } from '../../src/dicom-model/shade';
import { curvePoints, rangeOf, type Voi } from '../../src/dicom-model/voi';

const grey = (word: number | undefined): number => (word ?? 0) & 0xff;
const pixels = (shading: Shading, values: Int16Array | Uint16Array | Uint8Array | Float32Array): number[] => {
  const out = new Uint32Array(values.length);
  const one = lineOf(values.length, values.length, 0, 1, true);
  shading.draw(values, one, lineOf(1, 1, 0, 1, true), { across: 1, down: values.length }, out);
  return [...out].map(grey);
};
const curveOf = (voi: Voi): [number, number][] => curvePoints(voi, rangeOf(voi));

describe('a table of greys', () => {
  it('is straight between points and level beyond them', () => {
    const table = shadeTable([[0, 0], [100, 1]], -50, 201);
    expect([0, 50, 100, 150, 200].map((at) => grey(table[at]))).toEqual([0, 0, 128, 255, 255]);
  });

  it('is opaque grey in every word', () => {
    for (const word of shadeTable([[0, 1], [10, 0]], 0, 11)) {
      expect(word >>> 24).toBe(255);
      expect((word >>> 16) & 0xff).toBe(word & 0xff);
      expect((word >>> 8) & 0xff).toBe(word & 0xff);
    }
  });

  it('takes a step at one value', () => {
    const table = shadeTable([[5, 0], [5, 1]], 4, 3);
    expect([...table].map(grey)).toEqual([0, 0, 255]);
  });
});

describe('shading', () => {
  const curve = curveOf({ kind: 'window', window: { centre: 40, width: 400, shape: 'LINEAR' } });

  it('shows whole numbers as the curve says, of every kind', () => {
    const shown = (v: number): number => {
      const [[low], [high]] = curve as [[number, number], [number, number]];
      return Math.round(Math.min(1, Math.max(0, (v - low) / (high - low))) * 255);
    };
    const values = [-32768, -160, -31, 40, 111, 239, 32767];
    expect(pixels(new Shading(curve), Int16Array.from(values))).toEqual(values.map(shown));
    expect(pixels(new Shading(curve), Uint16Array.of(40, 65535))).toEqual([shown(40), 255]);
    expect(pixels(new Shading(curve), Uint8Array.of(40, 0))).toEqual([shown(40), shown(0)]);
  });

  it('shows fractions within half a grey, beyond the ends as at the ends, and what is no finite number black', () => {
    const shading = new Shading([[0, 0], [7, 1]]);
    const values = Float32Array.from({ length: 701 }, (_, i) => i / 100);
    for (const [i, level] of pixels(shading, values).entries()) expect(Math.abs(level - ((values[i] as number) / 7) * 255)).toBeLessThanOrEqual(0.55);
    const alone = [-1e9, 1e9, Infinity, -Infinity, NaN].map((value) => pixels(shading, Float32Array.of(value))[0]);
    expect(alone).toEqual([0, 255, 0, 0, 0]);
  });

  it('follows a sigmoid and an inverted curve', () => {
    const sigmoid = curveOf({ kind: 'window', window: { centre: 0, width: 100, shape: 'SIGMOID' } });
    const levels = pixels(new Shading(sigmoid), Int16Array.of(-100, -25, 0, 25, 100));
    for (const [i, x] of [-100, -25, 0, 25, 100].entries()) expect(levels[i]).toBeCloseTo(255 / (1 + Math.exp((-4 * x) / 100)), -0.4);
    const negative = sigmoid.map(([v, g]): [number, number] => [v, 1 - g]);
    expect(pixels(new Shading(negative), Int16Array.of(-100, 100))).toEqual([levels[4], levels[0]].map((v) => v as number));
  });

  it('interpolates values, not greys', () => {
    // Halfway between -1000 and 1000 lies 0, which this window shows black; halfway between the greys is no black.
    const out = new Uint32Array(4);
    const across = lineOf(4, 2, 0, 2, true);
    new Shading([[100, 0], [200, 1]]).draw(Int16Array.of(-1000, 1000), across, lineOf(1, 1, 0, 1, true), { across: 1, down: 2 }, out);
    expect([...out].map(grey)).toEqual([0, 0, 255, 255]);
  });

  it('turns and mirrors by its lines and steps', () => {
    const values = Uint8Array.of(0, 51, 102, 153, 204, 255); // 2 rows of 3
    const linear = new Shading([[0, 0], [255, 1]]);
    const out = new Uint32Array(6).fill(BLACK);
    linear.draw(values, lineOf(3, 3, 3, -1, false), lineOf(2, 2, 0, 1, false), { across: 1, down: 3 }, out);
    expect([...out].map(grey)).toEqual([102, 51, 0, 255, 204, 153]);
    linear.draw(values, lineOf(2, 2, 2, -1, false), lineOf(3, 3, 0, 1, false), { across: 3, down: 1 }, out);
    expect([...out].map(grey)).toEqual([153, 0, 204, 51, 255, 102]);
  });

  it('leaves alone what lies beside the image', () => {
    const out = new Uint32Array(5).fill(BLACK);
    const linear = new Shading([[0, 0], [255, 1]]);
    linear.draw(Uint8Array.of(255, 255), lineOf(5, 2, 1, 1, true), lineOf(1, 1, 0, 1, true), { across: 1, down: 2 }, out);
    expect([...out].map(grey)).toEqual([0, 255, 255, 0, 0]);
    expect(lineOf(4, 2, 10, 1, true)).toMatchObject({ start: 0, end: 0 });
  });

  it('keeps colours as they are', () => {
    const out = new Uint32Array(2);
    colourWords(Uint8Array.of(1, 2, 3, 255, 128, 0), out);
    expect([...new Uint8Array(out.buffer)]).toEqual([1, 2, 3, 255, 255, 128, 0, 255]);
  });
});
