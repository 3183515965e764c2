import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/client/crc32c';
import { PreviewDamaged, readPreview, type PreviewSink } from '../../src/client/preview';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const u32 = (value: number): Uint8Array => Uint8Array.from([value, value >> 8, value >> 16, value >> 24].map((n) => n & 255));
const joined = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const packed = (value: unknown): Uint8Array => new Uint8Array(deflateSync(JSON.stringify(value)));
const chunk = (name: string, content: Uint8Array): Uint8Array => joined(bytes(name), u32(content.length), content);

interface Pack {
  readonly instances: readonly (readonly [string, number])[];
  readonly order: readonly number[];
  readonly sections: readonly (readonly [number, readonly string[]])[];
}

/** A stored preview; `parts` of a section stand in the order of the pack. */
function blob(pack: Pack, extra: Record<string, unknown> = {}, sections = pack.sections.length): Uint8Array {
  const bodies = pack.sections.map(([, parts]) => bytes(parts.join('')));
  const head = packed({
    v: 1,
    instances: pack.instances,
    order: pack.order,
    levels: pack.order.map(() => 5),
    sections: pack.sections.map(([level, parts]) => [level, parts.map((part) => part.length)]),
    crcs: bodies.map((body) => crc32c(body)),
    ...extra,
  });
  const start = joined(bytes('LWPV\x01\0\0\0'), u32(head.length), u32(crc32c(head)));
  return joined(start, head, ...bodies.slice(0, sections));
}

const PACK: Pack = {
  instances: [['1.2.1', 1], ['1.2.2', 2]],
  order: [1, 2, 0],
  sections: [[5, ['aa', 'bbb', 'c']], [4, ['AA', '', 'CC']], [3, ['xxxx', 'y', 'z']]],
};
const START = bytes('LWPS\x01\0\0\0');
const lead = (sop: string, frame: number, data: string): Uint8Array =>
  joined(Uint8Array.from([sop.length, 0]), bytes(sop), u32(frame), bytes(data));

const answer = (): Uint8Array =>
  joined(
    START,
    chunk('META', packed([{ '00080018': { vr: 'UI', Value: ['1.2.1'] } }])),
    chunk('LEAD', lead('1.2.2', 1, 'lead!')),
    chunk('XTRA', bytes('something of tomorrow')),
    chunk('PREV', blob(PACK, {}, 2)),
    chunk('FRMS', packed({ '1.2.1': [[1, 3, 9]], '1.2.2': [[2, 4, 8], [3, 3, 7]] })),
  );

class Notes implements PreviewSink {
  readonly said: string[] = [];
  private readonly text = (data: Uint8Array): string => String.fromCharCode(...data);
  metadata = (instances: readonly unknown[]): number => this.said.push(`metadata ${instances.length}`);
  lead = (sop: string, frame: number, prefix: Uint8Array): number => this.said.push(`lead ${sop} ${frame} ${this.text(prefix)}`);
  part = (sop: string, frame: number, offset: number, data: Uint8Array): number =>
    this.said.push(`${sop} ${frame} ${offset} ${this.text(data)}`);
  section = (level: number): number => this.said.push(`level ${level}`);
  ends = (sop: string, frames: readonly (readonly number[])[]): number => this.said.push(`ends ${sop} ${JSON.stringify(frames)}`);
}

function streamOf(data: Uint8Array, step: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= data.length) return controller.close();
      controller.enqueue(data.slice(at, at + step));
      at += step;
      return undefined;
    },
  });
}

async function told(data: Uint8Array, step = 1 << 20): Promise<string[]> {
  const notes = new Notes();
  await readPreview(streamOf(data, step), notes);
  return notes.said;
}

const EXPECTED = [
  'metadata 1',
  'lead 1.2.2 1 lead!',
  '1.2.2 1 0 aa', '1.2.2 2 0 bbb', '1.2.1 1 0 c', 'level 5',
  '1.2.2 1 2 AA', '1.2.1 1 1 CC', 'level 4',
  'ends 1.2.1 [[1,3,9]]', 'ends 1.2.2 [[2,4,8],[3,3,7]]',
];

describe('crc32c', () => {
  it('is the Castagnoli sum, in one go or in pieces', () => {
    expect(crc32c(bytes('123456789'))).toBe(0xe3069283);
    expect(crc32c(bytes('6789'), crc32c(bytes('12345')))).toBe(0xe3069283);
  });
});

describe('preview', () => {
  it('is told in order, however the bytes arrive, and unknown chunks are passed over', async () => {
    for (const step of [1, 3, 7, 64, 1 << 20]) expect(await told(answer(), step)).toEqual(EXPECTED);
  });

  it('may hold nothing but metadata', async () => {
    const plain = joined(START, chunk('META', packed([])), chunk('FRMS', packed({})));
    expect(await told(plain)).toEqual(['metadata 0']);
  });

  it('tells what is here before the rest has come', async () => {
    const notes = new Notes();
    const all = answer();
    const cut = all.slice(0, 8 + 8 + packed([{ '00080018': { vr: 'UI', Value: ['1.2.1'] } }]).length + 8 + 16);
    const open = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(cut);
      },
    });
    void readPreview(open, notes).catch(() => undefined);
    for (let i = 0; i < 50 && notes.said.length < 2; i += 1) await new Promise((done) => setTimeout(done, 5));
    expect(notes.said).toEqual(EXPECTED.slice(0, 2));
  });

  it('is refused wherever it is cut', async () => {
    const all = answer();
    const borders = new Set<number>();
    for (let at = 8; at <= all.length; at += 8 + new DataView(all.buffer).getUint32(at + 4, true)) {
      borders.add(at);
      if (at === all.length) break;
    }
    for (let length = 0; length < all.length; length += 1) {
      if (borders.has(length)) continue;
      await expect(told(all.slice(0, length)), `cut at ${length}`).rejects.toThrow(PreviewDamaged);
    }
  });

  it('is refused when a sum is wrong', async () => {
    const bad = (extra: Record<string, unknown>): Promise<string[]> => told(joined(START, chunk('PREV', blob(PACK, extra))));
    await expect(bad({ crcs: [1, 2, 3] })).rejects.toThrow(/sum/);
    const head = blob(PACK);
    head[20] = (head[20] as number) ^ 1;
    await expect(told(joined(START, chunk('PREV', head)))).rejects.toThrow(/sum/);
  });

  it.each<[string, Record<string, unknown>]>([
    ['another version', { v: 2 }],
    ['a frame twice in the order', { order: [0, 0, 1] }],
    ['a frame that is not there', { order: [0, 1, 3] }],
    ['more frames than a person can scroll', { instances: [['1.2', 100_001]] }],
    ['a negative length', { sections: [[5, [1, -1, 1]]] }],
    ['a length that is no number', { sections: [[5, ['2', 1, 1]]] }],
    ['fewer lengths than frames', { sections: [[5, [1]]] }],
    ['a UID that is none', { instances: [['1.2/../3', 1], ['1.2.2', 2]] }],
    ['no sums', { crcs: [] }],
    ['no order', { order: null }],
  ])('refuses a head with %s', async (_, extra) => {
    await expect(told(joined(START, chunk('PREV', blob(PACK, extra))))).rejects.toThrow(PreviewDamaged);
  });

  it('refuses what claims to be longer than anything real', async () => {
    await expect(told(joined(START, bytes('META'), u32(0x7fffffff)))).rejects.toThrow(/too long/);
    const many = Array.from({ length: 5000 }, () => chunk('ZZZZ', bytes('')));
    await expect(told(joined(START, ...many))).rejects.toThrow(/too many chunks/);
  });

  it('refuses other formats, other versions and broken content', async () => {
    await expect(told(bytes('<html>not found</html>'))).rejects.toThrow(/version/);
    await expect(told(bytes('LWPS\x02\0\0\0'))).rejects.toThrow(/version/);
    await expect(told(joined(START, chunk('META', bytes('nonsense'))))).rejects.toThrow(/inflated/);
    await expect(told(joined(START, chunk('META', new Uint8Array(deflateSync('{oops')))))).rejects.toThrow(/JSON/);
    await expect(told(joined(START, chunk('META', packed({ not: 'a list' }))))).rejects.toThrow(/list/);
    await expect(told(joined(START, chunk('LEAD', bytes('\xff\xff'))))).rejects.toThrow(/lead/);
    await expect(told(joined(START, chunk('LEAD', lead('1.2', 0, 'x'))))).rejects.toThrow(/lead/);
    await expect(told(joined(START, chunk('FRMS', packed({ '1.2': [[9, 3]] }))))).rejects.toThrow(/ends/);
    await expect(told(joined(START, chunk('FRMS', packed([]))))).rejects.toThrow(PreviewDamaged);
  });
});
