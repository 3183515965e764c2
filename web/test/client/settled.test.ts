import { deflateSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SettledSeries } from '../../src/client/settled';
import { codestream } from '../dicom-model/codestreams';
import { element, frameOf, slice } from '../dicom-model/objects';

const WHOLE = codestream(4, 4, [10, 20, 300]);
const frame = frameOf();
const HTJ2K = 'image/jphc; transfer-syntax=1.2.840.10008.1.2.4.202';

const u32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255];
const ascii = (text: string): number[] => [...text].map((c) => c.charCodeAt(0));
const chunk = (name: string, content: readonly number[]): number[] => [...ascii(name), ...u32(content.length), ...content];
const packed = (value: unknown): number[] => [...new Uint8Array(deflateSync(JSON.stringify(value)))];

/** A preview with a lead image that is the first `length` bytes of the codestream. */
const preview = (length: number): number[] => [
  ...ascii('LWPS\x01\0\0\0'),
  ...chunk('META', packed([slice({ '00080018': element('1.2.3.1') })])),
  ...chunk('LEAD', [7, 0, ...ascii('1.2.3.1'), ...u32(1), ...WHOLE.subarray(0, length)]),
  ...chunk('FRMS', packed({ '1.2.3.1': [[1, 2, WHOLE.length]] })),
];

const asked: { url: string; range: string | null }[] = [];

function serve(answers: { preview: () => Response; frame: (range: string | null) => Response }): SettledSeries {
  asked.length = 0;
  vi.stubGlobal('fetch', (url: string, { headers }: { headers: Record<string, string> }) => {
    const range = headers['Range'] ?? null;
    asked.push({ url: url.replace(/^.*\/series\/[^/]*\//, ''), range });
    if (url.includes('/preview?')) return Promise.resolve(answers.preview());
    if (url.endsWith('/metadata')) return Promise.resolve(Response.json([slice()]));
    return Promise.resolve(answers.frame(range));
  });
  return new SettledSeries(null, '1.2', '1.2.3', { level: 4, lead: 128 });
}

const streamed = (bytes: readonly number[]): Response =>
  new Response(Uint8Array.from(bytes), { headers: { 'content-type': 'application/vnd.lightwell.preview' } });

function part(from: number, source = WHOLE): Response {
  const said = { 'content-type': HTJ2K, 'content-range': `bytes ${from}-${source.length - 1}/${source.length}` };
  return new Response(source.slice(from), { status: 206, headers: said });
}

afterEach(() => vi.unstubAllGlobals());

describe('a settled series', () => {
  it('fetches what is missing and joins it to what is here', async () => {
    const length = WHOLE.length - 316; // two of three resolutions
    const series = serve({ preview: () => streamed(preview(length)), frame: () => part(length) });
    expect(await series.metadata).toHaveLength(1);
    expect(series.lead).toEqual({ sop: '1.2.3.1', frame: 1 });
    await series.complete;
    expect(series.prefix(frame)?.level).toBe(1);
    const whole = await series.whole(frame);
    expect(whole.level).toBe(0);
    expect(whole.bytes).toEqual(WHOLE);
    expect(asked.at(-1)?.range).toBe(`bytes=${length}-`);
    const before = asked.length;
    await series.whole(frame);
    expect(asked).toHaveLength(before);
  });

  it('takes the whole when prefix and rest do not belong together', async () => {
    const other = codestream(4, 4, [10, 21, 299]);
    const length = WHOLE.length - 316; // two of three resolutions
    const series = serve({
      preview: () => streamed(preview(length)),
      frame: (range) => (range ? part(length, other) : new Response(WHOLE.slice(), { headers: { 'content-type': HTJ2K } })),
    });
    await series.complete;
    expect((await series.whole(frame)).bytes).toEqual(WHOLE);
    expect(asked.slice(1).map(({ range }) => range)).toEqual([`bytes=${length}-`, null]);
  });

  it('never takes a codestream of another size for the image', async () => {
    const wide = codestream(8, 4, [10, 20, 300]);
    const series = serve({
      preview: () => streamed(preview(100)),
      frame: () => new Response(wide.slice(), { headers: { 'content-type': HTJ2K } }),
    });
    await series.complete;
    await expect(series.whole(frame)).rejects.toThrow();
  });

  it('gets the metadata another way when there is no preview, or one that cannot be read', async () => {
    for (const bad of [(): Response => new Response('', { status: 404 }), (): Response => streamed(ascii('nonsense'))]) {
      const series = serve({ preview: bad, frame: () => part(0) });
      expect(await series.metadata).toHaveLength(1);
      await series.complete;
      expect(series.stage).toBe('none');
      expect(series.has(frame)).toBe(false);
      expect(asked.map(({ url }) => url)).toEqual(['preview?level=4&lead=128', 'metadata']);
    }
  });
});
