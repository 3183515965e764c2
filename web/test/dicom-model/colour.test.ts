import { describe, expect, it } from 'vitest';
import { decoderUndoesYcc, hasComponentTransform, namesColourSpace, withRgbMarker } from '../../src/dicom-model/codestream';
import { colourPixels, paletteColour } from '../../src/dicom-model/colour';
import { expandSegments } from '../../src/dicom-model/segmented';
import { element, frameOf } from './objects';

const layout = (photometric: string, planar = 0) =>
  frameOf({
    '00280002': element(3),
    '00280004': element(photometric),
    '00280006': element(planar),
    '00280010': element(1),
    '00280011': element(2),
    '00280100': element(8),
    '00280101': element(8),
    '00280102': element(7),
  }).instance.layout;

const RAW = '1.2.840.10008.1.2.1';
const RLE = '1.2.840.10008.1.2.5';
const rgb = (samples: number[], photometric: string, planar: number, syntax: string, undone = false): number[] => [
  ...colourPixels(Uint8Array.from(samples), layout(photometric, planar), syntax, undone).values,
];

describe('colour', () => {
  it('RGB by pixel, by plane, and run-length whatever the planes were', () => {
    expect(rgb([1, 2, 3, 4, 5, 6], 'RGB', 0, RAW)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(rgb([1, 4, 2, 5, 3, 6], 'RGB', 1, RAW)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(rgb([1, 2, 3, 4, 5, 6], 'RGB', 1, RLE)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('YBR_FULL becomes RGB once', () => {
    const red = [76, 85, 255, 76, 85, 255];
    expect(rgb(red, 'YBR_FULL', 0, RAW)).toEqual([254, 0, 0, 254, 0, 0]);
    expect(rgb(red, 'YBR_FULL', 0, '1.2.840.10008.1.2.4.50', true)).toEqual(red);
  });

  it('YBR_FULL_422 shares chroma between two pixels', () => {
    expect(rgb([10, 20, 128, 128], 'YBR_FULL_422', 0, RAW)).toEqual([10, 10, 10, 20, 20, 20]);
  });

  it('too few samples are refused', () => {
    expect(() => rgb([1, 2, 3], 'RGB', 0, RAW)).toThrow(/shorter/);
    expect(() => rgb([1, 2, 3], 'YBR_FULL_422', 0, RAW)).toThrow(/shorter/);
  });

  it('palettes keep the high byte of 16-bit tables and clamp the index', () => {
    const tables = [Uint16Array.of(0, 0xff00), Uint16Array.of(0, 0x8000), Uint16Array.of(0, 0)] as const;
    const one = { ...layout('PALETTE COLOR'), samples: 1 };
    expect([...paletteColour(Uint8Array.of(0, 9), one, tables, 0, 16).values]).toEqual([0, 0, 0, 255, 128, 0]);
  });
});

describe('segmented palettes', () => {
  it('expand discrete, linear and indirect segments', () => {
    // two values, a ramp of 4 to 50, then the first segment again (offset 0 bytes, 1 segment)
    const data = Uint16Array.of(0, 2, 5, 10, 1, 4, 50, 2, 1, 0, 0);
    expect(expandSegments(data, 100)).toEqual([5, 10, 20, 30, 40, 50, 5, 10]);
  });

  it('stop at the promised number of entries, and refuse damage', () => {
    expect(expandSegments(Uint16Array.of(1, 65_535, 9), 4)).toHaveLength(4);
    expect(() => expandSegments(Uint16Array.of(7, 1, 1), 4)).toThrow(/damaged/);
    expect(() => expandSegments(Uint16Array.of(2, 1, 0, 0), 4)).toThrow(/damaged/);
  });
});

describe('codestream headers', () => {
  const jpeg = (...segment: number[]): Uint8Array => Uint8Array.of(0xff, 0xd8, ...segment, 0xff, 0xda, 0, 2);

  it('an RGB JPEG that names no colour space is made to', () => {
    const plain = jpeg(0xff, 0xdb, 0, 3, 1);
    expect(namesColourSpace(plain)).toBe(false);
    expect(namesColourSpace(withRgbMarker(plain))).toBe(true);
    expect(withRgbMarker(plain).subarray(-4)).toEqual(plain.subarray(-4));
  });

  it('one that does is left alone, and so is what is no JPEG', () => {
    const jfif = jpeg(0xff, 0xe0, 0, 3, 1);
    expect(withRgbMarker(jfif)).toBe(jfif);
    const junk = Uint8Array.of(1, 2, 3);
    expect(withRgbMarker(junk)).toBe(junk);
    expect(namesColourSpace(Uint8Array.of(0xff, 0xd8, 0xff, 0xdb, 0, 0))).toBe(false);
  });

  it('the component transform of JPEG 2000 decides who undoes YCbCr', () => {
    const coded = (mct: number): Uint8Array => Uint8Array.of(0xff, 0x4f, 0xff, 0x52, 0, 12, 0, 0, 0, 1, mct, 0, 0, 0, 0, 0);
    expect(hasComponentTransform(coded(1))).toBe(true);
    expect(hasComponentTransform(coded(0))).toBe(false);
    expect(decoderUndoesYcc('1.2.840.10008.1.2.4.90', coded(0))).toBe(false);
    expect(decoderUndoesYcc('1.2.840.10008.1.2.4.202', coded(1))).toBe(true);
    expect(decoderUndoesYcc('1.2.840.10008.1.2.4.50', coded(0))).toBe(true);
    expect(decoderUndoesYcc('1.2.840.10008.1.2.4.80', coded(1))).toBe(false);
  });
});
