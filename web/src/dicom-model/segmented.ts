/** Segmented palette tables (PS3.3 C.7.9.2): runs of values, ramps, and repeats of earlier ones. */

const DISCRETE = 0;
const LINEAR = 1;
const INDIRECT = 2;

interface Expansion {
  readonly data: Uint16Array;
  readonly out: number[];
  readonly limit: number;
}

/** Expand the segment at `at`; returns where the next one starts. */
function segment(e: Expansion, at: number, nested: boolean): number {
  const { data, out, limit } = e;
  const [opcode, length] = [data[at], data[at + 1] ?? 0];
  if (opcode === DISCRETE) {
    out.push(...data.subarray(at + 2, at + 2 + Math.min(length, limit - out.length)));
    return at + 2 + length;
  }
  if (opcode === LINEAR) {
    const from = out.at(-1) ?? 0;
    const to = data[at + 2] ?? 0;
    for (let i = 1; i <= length && out.length < limit; i += 1) {
      out.push(Math.round(from + ((to - from) * i) / length));
    }
    return at + 3;
  }
  if (opcode === INDIRECT && !nested) {
    // The offset counts bytes from the start of the table, low word first.
    let source = ((data[at + 2] ?? 0) + 65_536 * (data[at + 3] ?? 0)) / 2;
    for (let i = 0; i < length && source < data.length; i += 1) source = segment(e, source, true);
    return at + 4;
  }
  throw new Error('The segmented palette of this image is damaged.');
}

/** Entries of a 16-bit segmented table, at most `limit`. @throws Error for unknown opcodes. */
export function expandSegments(data: Uint16Array, limit: number): number[] {
  const e: Expansion = { data, out: [], limit };
  for (let at = 0; at < data.length && e.out.length < limit; ) at = segment(e, at, false);
  return e.out;
}
