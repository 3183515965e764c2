import { describe, expect, it } from 'vitest';
import type { Frame } from '../../src/dicom-model/instance';
import { splitSeries, type Stack } from '../../src/dicom-model/stacks';
import { tooLarge, volumeOf, type Volume } from '../../src/dicom-model/volume';
import { orderSlices } from '../../src/geometry/sorting';
import { at, element, frameOf, type Attributes } from './objects';

/** A stack of exactly these frames, however a series would be split. */
function stackOf(frames: readonly Frame[]): Stack {
  const { items, ...order } = orderSlices(frames);
  return { id: 's', series: '1.2.3', frames: items, order, label: '', cine: false };
}

const stack = (heights: readonly number[], extra: (n: number) => Attributes = () => ({})): Stack =>
  stackOf(heights.map((z, n) => at(z, n + 1, extra(n))));

const whyOf = (found: Stack): string => {
  const suitable = volumeOf(found);
  return 'why' in suitable ? suitable.why : '';
};

const EVEN = [0, 2.5, 5, 7.5];

describe('a stack is a volume', () => {
  it('when its slices are evenly spaced, whatever their thickness says', () => {
    const [found] = splitSeries(EVEN.map((z, n) => at(z, n + 1, { '00180050': element(1) })));
    const suitable = volumeOf(found as Stack) as { volume: Volume };
    expect(suitable.volume.grid.axes.map(({ spacing }) => spacing)).toEqual([0.5, 0.5, 2.5]);
    expect(suitable.volume.grid.axes.map(({ count }) => count)).toEqual([4, 4, 4]);
  });

  it('of PET too, where each slice is scaled by itself to one unit', () => {
    const pet = (n: number): Attributes => ({ '00080060': element('PT'), '00541001': element('BQML'), '00281053': element(1 + n / 7) });
    expect(whyOf(stack(EVEN, pet))).toBe('');
  });
});

describe('a stack is no volume, and says why', () => {
  it.each<[string, Stack]>([
    ['It has one slice only.', stack([0])],
    ['It has 2 slices: too few to tell that they are evenly spaced.', stack([0, 5])],
    ['A slice is missing after image 2.', stack([10, 7.5, 2.5, 0])],
    ['2 slices are missing after image 1, and more at 1 other place.', stack([20, 12.5, 10, 7.5, 2.5, 0])],
    ['Its slices are not evenly spaced: 2.5 to 3 mm.', stack([0, 2.5, 5, 8])],
    ['Images 2 and 3 lie at one place.', stack([0, 2.5, 2.5, 5])],
    [
      'Its slices are tilted by 20° against the direction in which they follow (gantry tilt).',
      stack(EVEN, (n) => ({ '00200032': element(0, -2.5 * n * Math.tan(Math.PI / 9), 2.5 * n) })),
    ],
    ['Its slices do not lie parallel: image 3 is turned.', stack([7.5, 5, 2.5, 0], (n) => (n === 2 ? { '00200037': element(0.9998, 0.02, 0, -0.02, 0.9998, 0) } : {}))],
    [
      'It was recorded 45° off the axes of the patient.',
      stack(EVEN, (n) => ({
        '00200032': element(0, -Math.SQRT1_2 * 2.5 * n, Math.SQRT1_2 * 2.5 * n),
        '00200037': element(1, 0, 0, 0, Math.SQRT1_2, Math.SQRT1_2),
      })),
    ],
    ['Its images are in colour.', stack(EVEN, () => ({ '00280002': element(3), '00280004': element('RGB') }))],
    ['Its images are in colour.', stack(EVEN, () => ({ '00280004': element('PALETTE COLOR') }))],
    ['Its values are scaled differently from image to image.', stack(EVEN, (n) => ({ '00281053': element(n === 1 ? 2 : 1) }))],
    ['It does not say how its stored values become Hounsfield units.', stack(EVEN, () => ({ '00281053': element() }))],
    ['Its values do not have one unit.', stack(EVEN, (n) => ({ '00281054': element(n === 1 ? 'US' : 'HU'), '00080008': element('DERIVED') }))],
    ['Its images are not all of one kind: some are inverted, or of another modality.', stack(EVEN, (n) => (n === 1 ? { '00280004': element('MONOCHROME1') } : {}))],
    ['It does not name its frame of reference.', stack(EVEN, () => ({ '00200052': element() }))],
    ['Its images have different frames of reference.', stack(EVEN, (n) => ({ '00200052': element(`1.${n}`) }))],
    ['Its images do not say where they lie in the patient.', stack(EVEN, (n) => (n === 1 ? { '00200032': element() } : {}))],
    ['It does not say how large a pixel is in the patient.', stack(EVEN, () => ({ '00280030': element(), '00181164': element(0.2, 0.2) }))],
    ['Its images are not all of one size.', stack(EVEN, (n) => ({ '00280030': element(n === 1 ? 0.6 : 0.5, 0.5) }))],
    ['Its images are not all of one size.', stack(EVEN, (n) => (n === 1 ? { '00280010': element(8) } : {}))],
  ])('%s', (why, found) => {
    expect(whyOf(found)).toBe(why);
  });

  it('when its values go through a table', () => {
    const table = { '00283002': element(4, 0, 16), '00283006': element(0, 1, 2, 3) };
    expect(whyOf(stack(EVEN, () => ({ '00283000': element(table) })))).toBe('Its values go through a table of each image.');
  });
});

describe('memory', () => {
  const MB = 1024 * 1024;
  const large = (slices: number, extra: Attributes = {}): Volume => {
    const made = { '00280010': element(512), '00280011': element(512), ...extra };
    const frame = frameOf(made);
    const frames = Array.from({ length: slices }, (_, n): Frame => ({ ...frame, sop: `1.${n}`, position: [0, 0, n] }));
    const suitable = volumeOf(stackOf(frames));
    if ('why' in suitable) throw new Error(suitable.why);
    return suitable.volume;
  };

  it('of 2,000 slices is 1 GB, which a phone is not asked for', () => {
    const volume = large(2000);
    expect(volume.bytes).toBe(2000 * 512 * 512 * 2);
    expect(tooLarge(volume, 192 * MB)).toBe('It needs 1,000 MB of memory; on this device a volume may take 192 MB.');
    expect(tooLarge(volume, 1024 * MB)).toBeNull();
  });

  it('counts four bytes for values that two cannot hold', () => {
    expect(large(3, { '00281053': element(0.5) }).bytes).toBe(3 * 512 * 512 * 4);
    expect(large(3, { '00280101': element(16), '00280103': element(1) }).bytes).toBe(3 * 512 * 512 * 4);
    expect(large(3, { '00280100': element(8), '00280101': element(8), '00281052': element(0) }).bytes).toBe(3 * 512 * 512);
  });
});
