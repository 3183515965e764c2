/** What the headers of coded frames say about their colour space. */

const ADOBE = [0x41, 0x64, 0x6f, 0x62, 0x65];
/** APP14 with transform 0: the components are stored as they are, not as YCbCr. */
const NO_TRANSFORM = [0xff, 0xee, 0x00, 0x0e, ...ADOBE, 0x00, 0x64, 0, 0, 0, 0, 0];

const startsWith = (data: Uint8Array, at: number, wanted: readonly number[]): boolean =>
  wanted.every((value, i) => data[at + i] === value);

/** Marker segments of a JPEG or JPEG 2000 header: [marker, offset of its parameters]. */
function* segments(data: Uint8Array, from: number, last: number): Generator<[number, number]> {
  for (let at = from; at + 4 <= data.length && data[at] === 0xff; ) {
    const marker = data[at + 1] as number;
    if (marker === last) return;
    yield [marker, at + 4];
    const size = ((data[at + 2] as number) << 8) | (data[at + 3] as number);
    if (size < 2) return;
    at += 2 + size;
  }
}

/** True when a JPEG says itself how its components are to be read (JFIF or Adobe marker). */
export function namesColourSpace(jpeg: Uint8Array): boolean {
  for (const [marker, at] of segments(jpeg, 2, 0xda)) {
    if (marker === 0xe0 || (marker === 0xee && startsWith(jpeg, at, ADOBE))) return true;
  }
  return false;
}

/**
 * A JPEG of RGB components that does not say so, made to say so: decoders take three unnamed
 * components for YCbCr, while PhotometricInterpretation RGB is clear.
 */
export function withRgbMarker(jpeg: Uint8Array): Uint8Array {
  if (jpeg[0] !== 0xff || jpeg[1] !== 0xd8 || namesColourSpace(jpeg)) return jpeg;
  const out = new Uint8Array(jpeg.length + NO_TRANSFORM.length);
  out.set(jpeg.subarray(0, 2));
  out.set(NO_TRANSFORM, 2);
  out.set(jpeg.subarray(2), 2 + NO_TRANSFORM.length);
  return out;
}

/** Whether a JPEG 2000 codestream carries its own colour transform, which decoders undo (COD). */
export function hasComponentTransform(codestream: Uint8Array): boolean {
  for (const [marker, at] of segments(codestream, 2, 0x90)) {
    // Scod (1), progression (1), layers (2), then the multiple component transform.
    if (marker === 0x52) return codestream[at + 4] === 1;
  }
  return false;
}

/** Whether the decoder of this frame hands out RGB although the header says YBR. */
export function decoderUndoesYcc(syntax: string, bytes: Uint8Array): boolean {
  if (syntax === '1.2.840.10008.1.2.4.50') return true;
  if (/\.4\.11[0-2]$/.test(syntax)) return true;
  if (/\.4\.(9[0-3]|20[1-3])$/.test(syntax)) return hasComponentTransform(bytes);
  return false;
}

/** What the head and the tile-parts of a JPEG 2000 codestream, or of a prefix of one, say. */
export interface CodestreamShape {
  readonly rows: number;
  readonly columns: number;
  readonly components: number;
  /** Decompositions D: level k has 1/2^k of the size, D is the coarsest. */
  readonly levels: number;
  /** End of each tile-part that is here in full; one a resolution, coarsest first. */
  readonly ends: readonly number[];
  /** Where each tile-part will end, as the main header says (TLM); empty when it does not. */
  readonly planned: readonly number[];
  /** True when the end marker stands behind the last tile-part. */
  readonly whole: boolean;
}

const MOST_LEVELS = 32;
const SOT_LENGTH = 12;

const u16 = (data: Uint8Array, at: number): number => ((data[at] as number) << 8) | (data[at + 1] as number);
const u32 = (data: Uint8Array, at: number): number => u16(data, at) * 65_536 + u16(data, at + 2);

/** Ends of the tile-parts that are there in full (ISO 15444-1 A.4.2), and whether EOC follows. */
function tileParts(data: Uint8Array, from: number): { ends: number[]; whole: boolean } {
  const ends: number[] = [];
  let at = from;
  while (ends.length <= MOST_LEVELS && at + SOT_LENGTH <= data.length && u16(data, at) === 0xff90) {
    const length = u32(data, at + 6);
    if (length < SOT_LENGTH + 2 || at + length > data.length) break;
    at += length;
    ends.push(at);
  }
  return { ends, whole: at + 2 === data.length && u16(data, at) === 0xffd9 };
}

/** Lengths of the tile-parts in a TLM segment (ISO 15444-1 A.7.1) whose parameters are at `at`. */
function plannedLengths(data: Uint8Array, at: number): number[] {
  const end = Math.min(data.length, at - 2 + u16(data, at - 2));
  const form = data[at + 1] as number;
  const tile = (form >> 4) & 3;
  const wide = (form & 0x40) !== 0;
  const step = tile + (wide ? 4 : 2);
  const lengths: number[] = [];
  for (let k = at + 2; k + step <= end && lengths.length <= MOST_LEVELS; k += step) {
    lengths.push(wide ? u32(data, k + tile) : u16(data, k + tile));
  }
  return lengths;
}

/**
 * Shape of a codestream of one tile with a tile-part a resolution, as settled series have them
 * (docs/design/storage.md); a prefix is as good as the whole. Null for anything else.
 */
export function codestreamShape(data: Uint8Array): CodestreamShape | null {
  if (data.length < 4 || u16(data, 0) !== 0xff4f) return null;
  let size: Pick<CodestreamShape, 'rows' | 'columns' | 'components'> | null = null;
  let levels = -1;
  let lengths: number[] = [];
  let tiles = data.length;
  for (const [marker, at] of segments(data, 2, 0x90)) {
    tiles = at - 2 + u16(data, at - 2);
    if (marker === 0x51 && at + 36 <= data.length) {
      const [right, bottom, left, top] = [2, 6, 10, 14].map((k) => u32(data, at + k)) as [number, number, number, number];
      size = { columns: right - left, rows: bottom - top, components: u16(data, at + 34) };
    }
    if (marker === 0x52 && at + 6 <= data.length) levels = data[at + 5] as number;
    if (marker === 0x55) lengths = plannedLengths(data, at);
  }
  if (!size || levels < 0 || levels > MOST_LEVELS) return null;
  const planned = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((sum, length) => sum + length, tiles));
  return { ...size, levels, planned, ...tileParts(data, tiles) };
}

/** The finest level that a prefix has in full; null when it has none. */
export function finestLevel(shape: CodestreamShape): number | null {
  const complete = Math.min(shape.ends.length, shape.levels + 1);
  return complete === 0 ? null : shape.levels - (complete - 1);
}
