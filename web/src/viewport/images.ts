/** One frame, loaded, decoded and turned into values ready to draw. */
import { fetchBinary, fetchFrame, HTJ2K_RPCL, type EncodedFrame } from '../client/dicomweb';
import { isAbort, RequestFailure } from '../client/http';
import type { Prefix, SettledSeries } from '../client/settled';
import { decoderUndoesYcc } from '../dicom-model/codestream';
import { colourPixels, paletteColour } from '../dicom-model/colour';
import type { Grid } from '../dicom-model/enlarge';
import type { Frame, LookupTable, PixelLayout } from '../dicom-model/instance';
import { greyPixels, signedInput, tableEntries, type ColourPixels, type GreyPixels, type Samples } from '../dicom-model/pixels';
import type { VoiCurve } from '../dicom-model/voi';
import type { ImageExtent } from '../geometry/view';
import { codecPool } from './codec-pool';
import { decodeSamples } from './decode';

export interface LoadedFrame {
  readonly frame: Frame;
  readonly pixels: GreyPixels | ColourPixels;
  readonly voiCurve: VoiCurve | null;
  /** Pixels of `pixels`: those of the header, or fewer over the same area in a preview. */
  readonly size: Grid;
  /** 0 = every pixel is here; k = a preview of 1/2^k of the size. */
  readonly level: number;
  /** False in a preview, and when the server sent a lossy form of an image that it keeps in another one. */
  readonly final: boolean;
  readonly syntax: string;
  readonly bytes: number;
}

/** Size of an image in mm, or in pixel widths when nothing says how large a pixel is. */
export function extentOf(frame: Frame): ImageExtent {
  const { rows, columns } = frame.instance.layout;
  return { rows, columns, spacing: frame.spacing ?? [frame.aspect, 1] };
}

const LOSSY_SYNTAXES = new Set([
  '1.2.840.10008.1.2.4.50',
  '1.2.840.10008.1.2.4.51',
  '1.2.840.10008.1.2.4.81',
  '1.2.840.10008.1.2.4.91',
  '1.2.840.10008.1.2.4.93',
  '1.2.840.10008.1.2.4.203',
]);

/** Final = the stored pixels in full quality (clinical 3). */
export const isFinal = (received: string, stored: string | null): boolean =>
  stored === null || received === stored || !LOSSY_SYNTAXES.has(received);

/** Tables are shared by the frames of an instance: fetched once, dropped with the data set. */
const tables = new WeakMap<LookupTable, Promise<Uint16Array>>();

function entriesOf(table: LookupTable): Promise<Uint16Array> {
  const known = tables.get(table);
  if (known) return known;
  const { data } = table;
  const loading =
    'kind' in data
      ? fetchBinary(data).then((bytes) => tableEntries(table, bytes))
      : Promise.resolve(tableEntries(table, data));
  loading.catch(() => tables.delete(table));
  tables.set(table, loading);
  return loading;
}

async function voiCurve(frame: Frame): Promise<VoiCurve | null> {
  const table = frame.voiTable;
  if (!table) return null;
  const entries = await entriesOf(table);
  const most = 2 ** table.bits - 1;
  const output = Float32Array.from(entries, (value) => Math.min(1, value / most));
  return { firstInput: signedInput(table.firstInput, frame.instance.layout), output };
}

async function colour(frame: Frame, samples: Samples, encoded: EncodedFrame): Promise<ColourPixels> {
  const { layout, palette } = frame.instance;
  if (layout.photometric !== 'PALETTE COLOR') {
    const undone = decoderUndoesYcc(encoded.syntax, encoded.bytes);
    return colourPixels(samples, layout, encoded.syntax, undone);
  }
  if (!palette) throw new Error('A palette image without its palette.');
  const [red, green, blue] = await Promise.all(palette.map(entriesOf));
  const first = signedInput(palette[0].firstInput, layout);
  const all = [red, green, blue] as [Uint16Array, Uint16Array, Uint16Array];
  return paletteColour(samples, layout, all, first, palette[0].bits);
}

const isColour = (frame: Frame): boolean =>
  frame.instance.layout.samples >= 3 || frame.instance.layout.photometric === 'PALETTE COLOR';

/** Samples that the codec has given, as values ready to draw. The same way for previews and finals. */
async function developed(frame: Frame, samples: Samples, encoded: EncodedFrame): Promise<Omit<LoadedFrame, 'frame' | 'final' | 'level' | 'size'>> {
  const { table } = frame.modalityTransform;
  const pixels = isColour(frame)
    ? await colour(frame, samples, encoded)
    : greyPixels(frame, samples, table ? await entriesOf(table) : null);
  return {
    pixels,
    voiCurve: pixels.kind === 'grey' ? await voiCurve(frame) : null,
    syntax: encoded.syntax,
    bytes: pixels.values.byteLength,
  };
}

/**
 * The layout of what a settled codestream holds: the values alone, without the bits beside them,
 * pixel by pixel (docs/design/storage.md "Codestream").
 */
const codedLayout = (layout: PixelLayout, size: Grid): PixelLayout => ({
  ...layout,
  ...size,
  highBit: layout.bitsStored - 1,
  planar: false,
});

async function decodedPrefix(frame: Frame, prefix: Prefix, urgent: boolean): Promise<LoadedFrame> {
  const { bytes, level } = prefix;
  const { samples, rows, columns } = await codecPool().decode(bytes, level, urgent);
  const size = { rows, columns };
  const { instance } = frame;
  if (level === 0 && (rows !== instance.layout.rows || columns !== instance.layout.columns)) {
    throw new Error(`coded as ${columns} x ${rows}`);
  }
  const seen = { ...frame, instance: { ...instance, layout: codedLayout(instance.layout, size) } };
  const done = await developed(seen, samples, { bytes, syntax: HTJ2K_RPCL });
  return { ...done, frame, size, level, final: level === 0 };
}

/** Colours between the colours of a palette mean nothing: such images have no previews. */
const hasPreviews = (frame: Frame): boolean => frame.instance.layout.photometric !== 'PALETTE COLOR';

/** The bytes that a preview can be made of; null when there are none. */
export function previewable(settled: SettledSeries | null, frame: Frame): Prefix | null {
  const prefix = settled && hasPreviews(frame) ? settled.prefix(frame) : null;
  return prefix && prefix.level > 0 ? prefix : null;
}

/** The best preview that can be shown with the bytes that are here; null when there is none. */
export async function previewOf(settled: SettledSeries, frame: Frame, worseThan = Infinity): Promise<LoadedFrame | null> {
  const prefix = previewable(settled, frame);
  return prefix && prefix.level < worseThan ? decodedPrefix(frame, prefix, true) : null;
}

export interface LoadOptions {
  readonly settled: SettledSeries | null;
  readonly signal: AbortSignal;
  /** For what is on screen: before everything else. */
  readonly urgent: boolean;
}

/** A settled frame: the rest of its codestream joined to the prefix; null = it has to come another way. */
async function loadSettled(frame: Frame, { settled, signal, urgent }: LoadOptions): Promise<LoadedFrame | null> {
  if (!settled || !(await settled.until(frame))) return null;
  signal.throwIfAborted();
  try {
    return await decodedPrefix(frame, await settled.whole(frame, signal, urgent ? 'high' : 'low'), urgent);
  } catch (error) {
    // A server that is gone or does not know the image will not know it by another way either.
    if (isAbort(error) || (error instanceof RequestFailure && error.status === 404)) throw error;
    return null;
  }
}

/** Load a frame in full. @throws RequestFailure with a reason for the reader, or an AbortError. */
export async function loadFrame(tenant: string | null, frame: Frame, options: LoadOptions): Promise<LoadedFrame> {
  const settled = await loadSettled(frame, options);
  if (settled) return settled;
  const encoded = await fetchFrame(tenant, frame, options.signal);
  const { layout } = frame.instance;
  const samples = await decodeSamples(encoded, layout);
  return {
    ...(await developed(frame, samples, encoded)),
    frame,
    size: { rows: layout.rows, columns: layout.columns },
    level: 0,
    final: isFinal(encoded.syntax, frame.instance.storedSyntax),
  };
}
