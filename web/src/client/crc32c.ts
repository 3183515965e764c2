/** CRC32C (Castagnoli), which every stored part of a settled series carries. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** Sum of `data`, or of all data so far when `before` is the sum up to here. */
export function crc32c(data: Uint8Array, before = 0): number {
  let sum = ~before;
  for (let i = 0; i < data.length; i += 1) sum = (TABLE[(sum ^ (data[i] as number)) & 0xff] as number) ^ (sum >>> 8);
  return ~sum >>> 0;
}
