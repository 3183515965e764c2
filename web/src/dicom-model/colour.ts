/** Colour samples to interleaved RGB (PS3.3 C.7.6.3.1.2). */
import type { PixelLayout } from './instance';
import { storedBits, type ColourPixels, type Samples } from './pixels';

const RLE = '1.2.840.10008.1.2.5';

const clamp = (value: number): number => (value < 0 ? 0 : value > 255 ? 255 : value);

/** Full-range YCbCr (ITU-R BT.601) to RGB. */
function ybrFull(y: number, cb: number, cr: number, out: Uint8Array, at: number): void {
  out[at] = clamp(Math.round(y + 1.402 * (cr - 128)));
  out[at + 1] = clamp(Math.round(y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)));
  out[at + 2] = clamp(Math.round(y + 1.772 * (cb - 128)));
}

/** Samples interleaved by pixel, 8 bits, whatever the plane order and depth were. */
function interleaved(samples: Samples, layout: PixelLayout, planar: boolean): Uint8Array {
  const shift = Math.max(0, layout.bitsStored - 8);
  const count = layout.rows * layout.columns;
  const out = new Uint8Array(3 * count);
  for (let i = 0; i < count; i += 1) {
    for (let c = 0; c < 3; c += 1) {
      out[3 * i + c] = (samples[planar ? c * count + i : 3 * i + c] as number) >> shift;
    }
  }
  return out;
}

/** Horizontally subsampled chroma: Y1 Y2 Cb Cr for every two pixels. */
function ybr422(samples: Samples, count: number): Uint8Array {
  const out = new Uint8Array(3 * count);
  for (let i = 0, from = 0; i + 1 < count; i += 2, from += 4) {
    const [y1, y2, cb, cr] = [0, 1, 2, 3].map((k) => samples[from + k] as number) as [number, number, number, number];
    ybrFull(y1, cb, cr, out, 3 * i);
    ybrFull(y2, cb, cr, out, 3 * i + 3);
  }
  return out;
}

/**
 * RGB of a true-colour frame.
 *
 * @param syntax transfer syntax of the bytes that were decoded.
 * @param undone the decoder has turned YCbCr into RGB itself.
 * @throws Error when there are fewer samples than the header promises.
 */
export function colourPixels(samples: Samples, layout: PixelLayout, syntax: string, undone: boolean): ColourPixels {
  const count = layout.rows * layout.columns;
  const native = syntax.startsWith('1.2.840.10008.1.2') && !syntax.startsWith('1.2.840.10008.1.2.4.');
  if (native && layout.photometric === 'YBR_FULL_422' && samples.length < 3 * count) {
    if (samples.length < 2 * count) throw new Error('The frame is shorter than its header says.');
    return { kind: 'colour', values: ybr422(samples, count) };
  }
  if (samples.length < 3 * count) throw new Error('The frame is shorter than its header says.');
  // Run-length frames are decoded pixel by pixel, whatever the header says about planes.
  const planar = native && layout.planar && syntax !== RLE;
  const rgb = interleaved(samples, layout, planar);
  const ybr = layout.photometric === 'YBR_FULL' || layout.photometric === 'YBR_FULL_422';
  if (ybr && !undone) {
    for (let i = 0; i < rgb.length; i += 3) {
      ybrFull(rgb[i] as number, rgb[i + 1] as number, rgb[i + 2] as number, rgb, i);
    }
  }
  return { kind: 'colour', values: rgb };
}

/** RGB of a PALETTE COLOR frame; 16-bit tables keep their high byte. */
export function paletteColour(
  decoded: Samples,
  layout: PixelLayout,
  tables: readonly [Uint16Array, Uint16Array, Uint16Array],
  firstInput: number,
  bits: number,
): ColourPixels {
  const samples = storedBits(decoded, layout);
  // Some writers declare 16 bits and store 8-bit values: then nothing lies above 255.
  const wide = bits > 8 && tables.some((table) => table.some((value) => value > 255));
  const out = new Uint8Array(3 * samples.length);
  for (let i = 0; i < samples.length; i += 1) {
    const at = Math.max(0, (samples[i] as number) - firstInput);
    for (let c = 0; c < 3; c += 1) {
      const table = tables[c] as Uint16Array;
      const value = table[Math.min(at, table.length - 1)] ?? 0;
      out[3 * i + c] = wide ? value >> 8 : value;
    }
  }
  return { kind: 'colour', values: out };
}
