/**
 * The preview of a settled series (docs/design/storage.md): metadata, a lead image and coarse
 * frames in one answer, read while it arrives. Hostile until parsed: everything has a limit.
 */
import { crc32c } from './crc32c';
import { RequestFailure } from './http';

export const PREVIEW_TYPE = 'application/vnd.lightwell.preview';

/** What arrives, in the order in which it arrives. */
export interface PreviewSink {
  /** DICOM JSON of every instance, as `/metadata` answers it. */
  metadata(instances: readonly unknown[]): void;
  /** A codestream prefix that is worth showing at once. @param frame from 1 */
  lead(sop: string, frame: number, prefix: Uint8Array): void;
  /** The next bytes of a frame's codestream, from `offset` on. @param frame from 1 */
  part(sop: string, frame: number, offset: number, bytes: Uint8Array): void;
  /** Every frame of a pack has been given the parts of this level; the sums were right. */
  section(level: number): void;
  /** Ends of the resolutions and, last, the length of the whole codestream: one list a frame. */
  ends(sop: string, frames: readonly (readonly number[])[]): void;
}

/** The answer is not what it says it is. Nothing of it may be trusted. */
export class PreviewDamaged extends RequestFailure {
  constructor(what: string) {
    super(`The preview cannot be read: ${what}.`, 'The images are loaded whole.');
    this.name = 'PreviewDamaged';
  }
}

const MAX_CHUNK = 96 << 20;
const MAX_TOTAL = 512 << 20;
const MAX_CHUNKS = 4096;
const MAX_JSON = 256 << 20;
const MAX_FRAMES = 100_000;
const MAX_LEVEL = 32;
const MAX_UID = 128;

const ascii = new TextDecoder('latin1');
const utf8 = new TextDecoder('utf-8');

const damaged = (what: string): never => {
  throw new PreviewDamaged(what);
};

/** A stream of bytes, taken in pieces of a chosen length. */
class ByteReader {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private pieces: Uint8Array[] = [];
  private held = 0;
  private total = 0;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }

  /** True when at least one byte follows. */
  async more(): Promise<boolean> {
    while (this.held === 0) if (!(await this.fill())) return false;
    return true;
  }

  /** Exactly `length` bytes, in a buffer of their own. */
  async take(length: number): Promise<Uint8Array> {
    while (this.held < length) if (!(await this.fill())) damaged('it ends early');
    const out = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const piece = this.pieces[0] as Uint8Array;
      const part = piece.subarray(0, length - at);
      out.set(part, at);
      at += part.length;
      if (part.length === piece.length) this.pieces.shift();
      else this.pieces[0] = piece.subarray(part.length);
    }
    this.held -= length;
    return out;
  }

  cancel(): void {
    void this.reader.cancel().catch(() => undefined);
  }

  private async fill(): Promise<boolean> {
    const { done, value } = await this.reader.read();
    if (done) return false;
    this.total += value.length;
    if (this.total > MAX_TOTAL) damaged('it is too long');
    if (value.length > 0) this.pieces.push(value);
    this.held += value.length;
    return true;
  }
}

/** Content of one chunk; what is not taken is passed over. */
class Chunk {
  constructor(
    private readonly source: ByteReader,
    public left: number,
  ) {}

  async take(length: number): Promise<Uint8Array> {
    if (length > this.left) damaged('a chunk is too short');
    this.left -= length;
    return this.source.take(length);
  }

  rest(): Promise<Uint8Array> {
    return this.take(this.left);
  }

  async skip(): Promise<void> {
    while (this.left > 0) await this.take(Math.min(this.left, 65_536));
  }
}

/** Inflate zlib (RFC 1950) up to a limit. */
async function inflate(data: Uint8Array): Promise<Uint8Array> {
  const source = new Blob([data as Uint8Array<ArrayBuffer>]).stream();
  const reader = source.pipeThrough(new DecompressionStream('deflate')).getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > MAX_JSON) damaged('it inflates to too much');
      pieces.push(next.value);
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined);
    if (error instanceof PreviewDamaged) throw error;
    return damaged('it cannot be inflated');
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

async function inflatedJson(data: Uint8Array): Promise<unknown> {
  const text = utf8.decode(await inflate(data));
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return damaged('its JSON cannot be read');
  }
}

const object = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : damaged('a field is missing');

const list = (value: unknown, most = MAX_FRAMES): readonly unknown[] =>
  Array.isArray(value) && value.length <= most ? value : damaged('a list is missing or too long');

const whole = (value: unknown, most: number): number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most ? value : damaged('a number is out of bounds');

const uid = (value: unknown): string =>
  typeof value === 'string' && /^[\w.-]+$/.test(value) && value.length <= MAX_UID ? value : damaged('a UID is malformed');

interface Section {
  readonly level: number;
  readonly lengths: readonly number[];
  readonly crc: number;
}

interface PackHead {
  readonly frames: readonly { readonly sop: string; readonly frame: number }[];
  readonly order: readonly number[];
  readonly sections: readonly Section[];
}

function framesOf(instances: readonly unknown[]): { sop: string; frame: number }[] {
  const frames: { sop: string; frame: number }[] = [];
  for (const item of instances) {
    const [sop, count] = list(item, 2);
    const many = whole(count, MAX_FRAMES);
    if (frames.length + many > MAX_FRAMES) damaged('it has too many frames');
    for (let frame = 1; frame <= many; frame += 1) frames.push({ sop: uid(sop), frame });
  }
  return frames;
}

/** Head of a stored preview blob ("Preview, version 1"). */
function packHead(json: unknown): PackHead {
  const head = object(json);
  if (head['v'] !== 1) damaged('its version is unknown');
  const frames = framesOf(list(head['instances']));
  const order = list(head['order']).map((n) => whole(n, frames.length - 1));
  if (order.length !== frames.length || new Set(order).size !== order.length) damaged('its order is no order');
  const sums = list(head['crcs'], MAX_LEVEL);
  const sections = list(head['sections'], MAX_LEVEL).map((item, i): Section => {
    const [level, lengths] = list(item, 2);
    const parts = list(lengths).map((n) => whole(n, MAX_CHUNK));
    if (parts.length !== frames.length) damaged('a section has another number of frames');
    return { level: whole(level, MAX_LEVEL), lengths: parts, crc: whole(sums[i], 0xffffffff) };
  });
  return { frames, order, sections };
}

const u32 = (data: Uint8Array, at: number): number =>
  new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(at, true);

async function readPack(chunk: Chunk, sink: PreviewSink): Promise<void> {
  const start = await chunk.take(16);
  if (ascii.decode(start.subarray(0, 4)) !== 'LWPV' || start[4] !== 1) damaged('a pack has an unknown form');
  const packed = await chunk.take(u32(start, 8));
  if (crc32c(packed) !== u32(start, 12)) damaged('the sum of a head is wrong');
  const head = packHead(await inflatedJson(packed));
  const offsets = new Float64Array(head.frames.length);
  for (const section of head.sections) {
    // The answer ends after the section that was asked for; its head still lists the finer ones.
    if (chunk.left === 0) return;
    let sum = 0;
    for (let i = 0; i < head.order.length; i += 1) {
      const length = section.lengths[i] as number;
      if (length === 0) continue;
      const at = head.order[i] as number;
      const { sop, frame } = head.frames[at] as PackHead['frames'][number];
      const bytes = await chunk.take(length);
      sum = crc32c(bytes, sum);
      sink.part(sop, frame, offsets[at] as number, bytes);
      offsets[at] = (offsets[at] as number) + length;
    }
    if (sum !== section.crc) damaged('the sum of a section is wrong');
    sink.section(section.level);
  }
}

async function readLead(chunk: Chunk, sink: PreviewSink): Promise<void> {
  const data = await chunk.rest();
  const length = data.length >= 2 ? (data[0] as number) | ((data[1] as number) << 8) : MAX_UID + 1;
  if (length > MAX_UID || data.length < 2 + length + 4) damaged('the lead image is too short');
  const sop = uid(ascii.decode(data.subarray(2, 2 + length)));
  const frame = u32(data, 2 + length);
  if (frame < 1 || frame > MAX_FRAMES) damaged('the lead image is no frame');
  sink.lead(sop, frame, data.subarray(6 + length));
}

function readEnds(json: unknown, sink: PreviewSink): void {
  let count = 0;
  for (const [sop, value] of Object.entries(object(json))) {
    const frames = list(value).map((item) => {
      const ends = list(item, MAX_LEVEL + 2).map((n) => whole(n, Number.MAX_SAFE_INTEGER));
      if (ends.length < 2 || ends.some((end, i) => i > 0 && end < (ends[i - 1] as number))) damaged('a frame has no ends');
      return ends;
    });
    count += frames.length;
    if (count > MAX_FRAMES) damaged('it has too many frames');
    sink.ends(uid(sop), frames);
  }
}

async function readChunk(name: string, chunk: Chunk, sink: PreviewSink): Promise<void> {
  if (name === 'META') sink.metadata(list(await inflatedJson(await chunk.rest())));
  else if (name === 'LEAD') await readLead(chunk, sink);
  else if (name === 'PREV') await readPack(chunk, sink);
  else if (name === 'FRMS') readEnds(await inflatedJson(await chunk.rest()), sink);
  // What this viewer does not know, and what is left of what it knows, is passed over.
  await chunk.skip();
}

/**
 * Read a preview to its end, telling the sink of everything as soon as it is here.
 *
 * @throws PreviewDamaged when the bytes contradict their form or their sums.
 */
export async function readPreview(stream: ReadableStream<Uint8Array>, sink: PreviewSink): Promise<void> {
  const source = new ByteReader(stream);
  try {
    const start = await source.take(8);
    if (ascii.decode(start.subarray(0, 4)) !== 'LWPS' || start[4] !== 1) damaged('its version is unknown');
    for (let count = 0; await source.more(); count += 1) {
      if (count >= MAX_CHUNKS) damaged('it has too many chunks');
      const head = await source.take(8);
      const length = u32(head, 4);
      if (length > MAX_CHUNK) damaged('a chunk is too long');
      await readChunk(ascii.decode(head.subarray(0, 4)), new Chunk(source, length), sink);
    }
  } catch (error) {
    source.cancel();
    throw error;
  }
}
