/** The one part of a multipart/related answer (PS3.18 8.6, RFC 2387). */

export interface Part {
  readonly contentType: string;
  readonly body: Uint8Array;
}

const MAX_HEADER = 8192;
const latin1 = new TextDecoder('latin1');

function indexOfBytes(data: Uint8Array, wanted: Uint8Array, from: number, to: number): number {
  const first = wanted[0] as number;
  for (let at = data.indexOf(first, from); at >= 0 && at <= to - wanted.length; at = data.indexOf(first, at + 1)) {
    let k = 1;
    while (k < wanted.length && data[at + k] === wanted[k]) k += 1;
    if (k === wanted.length) return at;
  }
  return -1;
}

const bytes = (value: string): Uint8Array => Uint8Array.from(value, (c) => c.charCodeAt(0));

/** The value of a parameter of a media type, unquoted. */
export function parameter(mediaType: string, name: string): string | null {
  const match = new RegExp(`;\\s*${name}\\s*=\\s*(?:"([^"]*)"|([^;\\s]+))`, 'i').exec(mediaType);
  return match ? (match[1] ?? match[2] ?? null) : null;
}

/** Where the body ends: at the last boundary of the data, without its line break. */
function bodyEnd(data: Uint8Array, boundary: string, from: number): number {
  const closing = bytes(`\r\n--${boundary}`);
  // Pixel data may hold anything, but the closing delimiter is among the last bytes.
  const tail = Math.max(from, data.length - closing.length - 64);
  const near = indexOfBytes(data, closing, tail, data.length);
  const end = near >= 0 ? near : indexOfBytes(data, closing, from, data.length);
  return end >= 0 ? end : data.length;
}

/**
 * First part of an answer. An answer that is not multipart is its own part.
 *
 * @throws Error when the boundary or the part's header is missing.
 */
export function firstPart(contentType: string, data: Uint8Array): Part {
  if (!/^multipart\//i.test(contentType)) return { contentType, body: data };
  const boundary = parameter(contentType, 'boundary');
  if (!boundary) throw new Error('The answer has no multipart boundary.');
  const start = indexOfBytes(data, bytes(`--${boundary}\r\n`), 0, Math.min(data.length, MAX_HEADER));
  const headerFrom = start + boundary.length + 2;
  const blank = start < 0 ? -1 : indexOfBytes(data, bytes('\r\n\r\n'), headerFrom, Math.min(data.length, headerFrom + MAX_HEADER));
  if (blank < 0) throw new Error('The answer holds no part.');
  const header = latin1.decode(data.subarray(headerFrom, blank));
  const type = /^content-type:\s*(.+)$/im.exec(header)?.[1]?.trim() ?? '';
  const from = blank + 4;
  return { contentType: type, body: data.subarray(from, bodyEnd(data, boundary, from)) };
}
