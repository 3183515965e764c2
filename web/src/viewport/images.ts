/** One frame, loaded, decoded and turned into values ready to draw. */
import { fetchBinary, fetchFrame, type EncodedFrame } from '../client/dicomweb';
import { decoderUndoesYcc } from '../dicom-model/codestream';
import { colourPixels, paletteColour } from '../dicom-model/colour';
import type { Frame, LookupTable } from '../dicom-model/instance';
import { greyPixels, signedInput, tableEntries, type ColourPixels, type GreyPixels, type Samples } from '../dicom-model/pixels';
import type { VoiCurve } from '../dicom-model/voi';
import { decodeSamples } from './decode';

export interface LoadedFrame {
  readonly frame: Frame;
  readonly pixels: GreyPixels | ColourPixels;
  readonly voiCurve: VoiCurve | null;
  /** False when the server sent a lossy form of an image that it keeps in another one. */
  readonly final: boolean;
  readonly syntax: string;
  readonly bytes: number;
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

/** Load a frame. @throws RequestFailure with a reason for the reader, or an AbortError. */
export async function loadFrame(
  tenant: string | null,
  frame: Frame,
  signal?: AbortSignal,
): Promise<LoadedFrame> {
  const encoded = await fetchFrame(tenant, frame, signal);
  const samples = await decodeSamples(encoded, frame.instance.layout);
  const { table } = frame.modalityTransform;
  const pixels = isColour(frame)
    ? await colour(frame, samples, encoded)
    : greyPixels(frame, samples, table ? await entriesOf(table) : null);
  return {
    frame,
    pixels,
    voiCurve: pixels.kind === 'grey' ? await voiCurve(frame) : null,
    final: isFinal(encoded.syntax, frame.instance.storedSyntax),
    syntax: encoded.syntax,
    bytes: pixels.values.byteLength,
  };
}

