import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SeriesItem } from '../../src/client/console';
import { approachOf, likelyFirst, press, release } from '../../src/store/approach';

const series = (uid: string, part: Partial<SeriesItem> = {}): SeriesItem => ({
  series: uid,
  modality: 'CT',
  number: 1,
  description: '',
  bodyPart: '',
  instances: 10,
  thumbnail: null,
  ...part,
});

describe('the series that will hang first', () => {
  it('is the first by number that has more than a picture', () => {
    const scout = series('1.1', { number: 1, instances: 1 });
    const thorax = series('1.2', { number: 2 });
    expect(likelyFirst([series('1.3', { number: 3 }), thorax, scout])?.series).toBe('1.2');
    expect(likelyFirst([series('1.9', { modality: 'SR', number: 0 }), scout])?.series).toBe('1.1');
    expect(likelyFirst([])).toBeNull();
  });
});

describe('an approach', () => {
  const asked: string[] = [];
  let answerStudy: (series: readonly string[]) => void;

  beforeEach(() => {
    asked.length = 0;
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
      asked.push(String(url));
      return new Promise((resolve, reject) => {
        init.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
        if (/\/api\/v1\/studies\/1$/.test(String(url))) {
          answerStudy = (uids) =>
            resolve(
              new Response(
                JSON.stringify({ study_uid: '1', series: uids.map((uid) => ({ series_uid: uid, modality: 'CT', number: 1, instances: 10 })) }),
                { headers: { 'content-type': 'application/json' } },
              ),
            );
        }
      });
    });
  });
  afterEach(() => {
    release();
    vi.unstubAllGlobals();
  });
  const previews = (): string[] => asked.filter((url) => url.includes('/preview'));

  it('asks for the first series beside the study when the list has told it', async () => {
    press(null, { study: '1', hints: [series('1.2')] });
    await vi.waitFor(() => expect(previews()).toHaveLength(1));
    expect(previews()[0]).toContain('/series/1.2/');
    const taken = approachOf(null, '1')?.take();
    answerStudy(['1.2']);
    const early = await taken;
    expect(early?.series?.uid).toBe('1.2');
    expect(previews()).toHaveLength(1);
    early?.series?.close();
  });

  it('turns to another series when the study has changed since', async () => {
    press(null, { study: '1', hints: [series('1.2')] });
    const taken = approachOf(null, '1')?.take();
    answerStudy(['1.3']);
    const early = await taken;
    expect(early?.series?.uid).toBe('1.3');
    early?.series?.close();
  });

  it('waits for the study when the list has told nothing', async () => {
    press(null, { study: '1', hints: [] });
    expect(previews()).toHaveLength(0);
    const taken = approachOf(null, '1')?.take();
    answerStudy(['1.2']);
    const early = await taken;
    expect(early?.series?.uid).toBe('1.2');
    early?.series?.close();
  });
});
