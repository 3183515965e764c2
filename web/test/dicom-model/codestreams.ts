/** Codestreams of settled series in miniature: right markers, no picture in them. */
const word = (value: number): number[] => [(value >> 8) & 255, value & 255];
const long = (value: number): number[] => [...word(value >>> 16), ...word(value & 0xffff)];

/** A codestream of `parts.length` resolutions whose tile-parts hold so many bytes of data. */
export function codestream(columns: number, rows: number, parts: readonly number[], components = 1): Uint8Array {
  const sizes = parts.map((data) => 14 + data);
  const siz = [
    ...word(0xff51), ...word(38 + 3 * components), ...word(0x4000), ...long(columns), ...long(rows), ...long(0), ...long(0),
    ...long(columns), ...long(rows), ...long(0), ...long(0), ...word(components),
    ...Array.from({ length: components }, () => [15, 1, 1]).flat(),
  ];
  const cod = [...word(0xff52), ...word(12), 0, 2, ...word(1), components === 3 ? 1 : 0, parts.length - 1, 4, 4, 0x40, 1];
  const tlm = [...word(0xff55), ...word(4 + 6 * parts.length), 0, 0x60, ...sizes.flatMap((size) => [0, 0, ...long(size)])];
  const tiles = parts.flatMap((data, i) => [
    ...word(0xff90), ...word(10), ...word(0), ...long(sizes[i] as number), i, parts.length, ...word(0xff93),
    ...Array.from({ length: data }, (_, k) => (k + i) & 127),
  ]);
  return Uint8Array.from([...word(0xff4f), ...siz, ...cod, ...tlm, ...tiles, ...word(0xffd9)]);
}
