/** From decoded samples to values that mean something: stored -> modality values, colour -> RGB. */
import { expandSegments } from './segmented';
import type { Frame, LookupTable, PixelLayout } from './instance';

export type Samples = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array;

export interface GreyPixels {
  readonly kind: 'grey';
  readonly values: Int16Array | Uint16Array | Uint8Array | Float32Array;
  readonly min: number;
  readonly max: number;
  /** "HU", "SUV", "Bq/ml" or "" (clinical 5). */
  readonly unit: string;
  /** True when values were scaled beyond the modality transform (SUV): recorded windows do not fit. */
  readonly scaled: boolean;
  readonly isPadding: (value: number) => boolean;
}

export interface ColourPixels {
  readonly kind: 'colour';
  /** Interleaved RGB, 8 bits. */
  readonly values: Uint8Array;
}

function littleEndianWords(bytes: Uint8Array): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getUint16(2 * i, true));
}

/** Entries of a table, read from its data already fetched as bytes or numbers. */
export function tableEntries(table: LookupTable, data: readonly number[] | Uint8Array): Uint16Array {
  if (table.segmented) {
    const words = data instanceof Uint8Array ? littleEndianWords(data) : Uint16Array.from(data);
    return Uint16Array.from(expandSegments(words, table.entries));
  }
  const out = new Uint16Array(table.entries);
  if (!(data instanceof Uint8Array)) {
    for (let i = 0; i < out.length; i += 1) out[i] = data[Math.min(i, data.length - 1)] ?? 0;
    return out;
  }
  const wide = data.length >= 2 * table.entries;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const count = wide ? Math.floor(data.length / 2) : data.length;
  for (let i = 0; i < out.length; i += 1) {
    const at = Math.min(i, count - 1);
    if (at < 0) break;
    out[i] = wide ? view.getUint16(2 * at, true) : view.getUint8(at);
  }
  return out;
}

/** Value of a table for an input, clamped to its ends (PS3.3 C.11.1.1.1). */
export const look = (entries: Uint16Array, firstInput: number, input: number): number =>
  entries[Math.min(Math.max(0, Math.round(input) - firstInput), entries.length - 1)] ?? 0;

/** First mapped value as the pixel representation reads it: signed images have signed inputs. */
export const signedInput = (value: number, layout: PixelLayout): number =>
  layout.signed && value > 32_767 ? value - 65_536 : value;

/** Drop bits above the stored ones (overlays in old objects), keep the sign. */
export function storedBits(samples: Samples, layout: PixelLayout): Samples {
  const { bitsStored, bitsAllocated, highBit, signed } = layout;
  if (bitsStored >= bitsAllocated || bitsAllocated > 16 || samples instanceof Float32Array) return samples;
  const shift = Math.max(0, highBit - bitsStored + 1);
  const mask = (1 << bitsStored) - 1;
  const sign = 1 << (bitsStored - 1);
  const out = signed ? new Int16Array(samples.length) : new Uint16Array(samples.length);
  for (let i = 0; i < samples.length; i += 1) {
    const bits = ((samples[i] as number) >> shift) & mask;
    out[i] = signed && (bits & sign) !== 0 ? bits - (mask + 1) : bits;
  }
  return out;
}

/** One-bit images (segmentations) packed eight to a byte, lowest bit first (PS3.5 8.1.1). */
export function unpackBits(packed: Samples, count: number): Uint8Array {
  const out = new Uint8Array(count);
  for (let i = 0; i < count; i += 1) out[i] = ((packed[i >> 3] ?? 0) >> (i & 7)) & 1;
  return out;
}

function extent(values: ArrayLike<number>): { min: number; max: number } {
  let min = Infinity;
  let max = -Infinity;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return Number.isFinite(min) && Number.isFinite(max) ? { min, max } : { min: 0, max: 1 };
}

type GreyArray = GreyPixels['values'];

/** Smallest array type that holds every result without rounding. */
function roomFor(length: number, low: number, high: number, whole: boolean): GreyArray {
  if (whole && low >= 0 && high <= 255) return new Uint8Array(length);
  if (whole && low >= -32_768 && high <= 32_767) return new Int16Array(length);
  if (whole && low >= 0 && high <= 65_535) return new Uint16Array(length);
  return new Float32Array(length);
}

function mapped(samples: Samples, map: (value: number) => number, whole: boolean, ends: [number, number]): GreyArray {
  const out = roomFor(samples.length, Math.min(...ends), Math.max(...ends), whole);
  for (let i = 0; i < samples.length; i += 1) out[i] = map(samples[i] as number);
  return out;
}

/**
 * Modality values of a grey frame.
 *
 * @param table entries of the Modality LUT, fetched by the caller; it replaces slope and intercept.
 */
export function greyPixels(frame: Frame, decoded: Samples, table: Uint16Array | null): GreyPixels {
  const { layout, suv, units } = frame.instance;
  const { slope, intercept, table: descriptor } = frame.modalityTransform;
  const count = layout.rows * layout.columns;
  const packed = layout.bitsAllocated === 1 && decoded.length < count;
  const samples = packed ? unpackBits(decoded, count) : storedBits(decoded, layout);
  if (samples.length < count) throw new Error('The frame is shorter than its header says.');
  const raw = extent(samples);
  const factor = suv?.ok ? suv.factor : 1;
  const first = descriptor ? signedInput(descriptor.firstInput, layout) : 0;
  const map = table
    ? (value: number): number => look(table, first, value)
    : (value: number): number => (value * slope + intercept) * factor;
  const whole =
    table !== null ||
    (Number.isInteger(slope * factor) && Number.isInteger(intercept * factor) && !(samples instanceof Float32Array));
  const ends: [number, number] = table ? [0, 65_535] : [map(raw.min), map(raw.max)];
  const values = mapped(samples, map, whole, ends);
  const pad = layout.padding;
  const padded = pad && !table ? [map(pad.from), map(pad.to)] : null;
  const [from, to] = padded ? [Math.min(...padded), Math.max(...padded)] : [1, 0];
  return {
    kind: 'grey',
    values,
    ...extent(values),
    unit: suv?.ok ? 'SUV' : units,
    scaled: factor !== 1,
    isPadding: (value) => value >= from && value <= to,
  };
}
