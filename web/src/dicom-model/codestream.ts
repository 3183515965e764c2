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
