import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readJob, type Job } from '../../src/client/jobs';
import { canCancel, canRetry, JobsStore, merged, unfinished } from '../../src/store/jobs';
import { CALM, LIVE, pauseBefore } from '../../src/store/polling';

const raw = (id: string, state = 'done', part: Record<string, unknown> = {}): Record<string, unknown> => ({
  id,
  workflow: 'settle_series',
  state,
  created: `2026-11-24T00:00:${id.padStart(2, '0')}Z`,
  ...part,
});
const job = (id: string, state = 'done', part: Record<string, unknown> = {}): Job => readJob(raw(id, state, part)) as Job;
const ids = (jobs: readonly Job[]): string[] => jobs.map((each) => each.id);

describe('when to look again', () => {
  it('is soon while something is under way, later else, never while nobody looks', () => {
    expect(pauseBefore({ visible: true, unfinished: true, failures: 0 })).toBe(LIVE);
    expect(pauseBefore({ visible: true, unfinished: false, failures: 0 })).toBe(CALM);
    expect(pauseBefore({ visible: false, unfinished: true, failures: 0 })).toBeNull();
  });

  it('grows while the server is away, to half a minute', () => {
    const pauses = [1, 2, 3, 9].map((failures) => pauseBefore({ visible: true, unfinished: true, failures }));
    expect(pauses).toEqual([4_000, 8_000, 16_000, 30_000]);
  });

  it('knows what is under way', () => {
    const counts = { waiting: 0, running: 0, failed: 3 };
    expect(unfinished({ items: [job('1'), job('2', 'failed')], counts })).toBe(false);
    expect(unfinished({ items: [], counts: { ...counts, waiting: 1 } })).toBe(true);
    expect(unfinished({ items: [job('2', 'failed', { asked: 'retry' })], counts })).toBe(true);
  });
});

describe('the list', () => {
  it('takes the newest as read and keeps what lies beyond them', () => {
    const before = ['5', '4', '3', '2', '1'].map((id) => job(id));
    const page = { items: [job('6'), job('5'), job('4')], next: '4' };
    expect(ids(merged(before, page))).toEqual(['6', '5', '4', '3', '2', '1']);
    expect(ids(merged(before, { items: [job('6')], next: null }))).toEqual(['6']);
    expect(ids(merged(before, { items: [], next: null }))).toEqual([]);
  });

  it('says what may be asked of a job', () => {
    expect(['waiting', 'running', 'failed', 'done', 'cancelled'].map((s) => [canCancel(job('1', s)), canRetry(job('1', s))])).toEqual([
      [true, false],
      [true, false],
      [false, true],
      [false, false],
      [false, true],
    ]);
    expect(canRetry(job('1', 'failed', { asked: 'retry' }))).toBe(false);
  });

  it('reads no job of a state it does not know', () => {
    expect(readJob(raw('1', 'odd'))).toBeNull();
    expect(readJob({ state: 'done' })).toBeNull();
    expect(readJob(7)).toBeNull();
  });
});

describe('the store', () => {
  let items: Record<string, unknown>[];
  let asked: { url: string; method: string }[];
  let away: boolean;

  beforeEach(() => {
    vi.useFakeTimers();
    [items, asked, away] = [[], [], false];
    const page = Object.assign(new EventTarget(), { hidden: false });
    vi.stubGlobal('document', page);
    vi.stubGlobal('addEventListener', () => undefined);
    vi.stubGlobal('removeEventListener', () => undefined);
    vi.stubGlobal('fetch', (url: string, { method = 'GET' }: RequestInit) => {
      asked.push({ url, method });
      if (away) return Promise.reject(new TypeError('refused'));
      if (method === 'POST') return Promise.resolve(Response.json(raw('1', 'failed', { asked: 'retry' }), { status: 202 }));
      const of = (state: string): number => items.filter((each) => each['state'] === state).length;
      const counts = { waiting: of('waiting'), running: of('running'), failed: of('failed') };
      return Promise.resolve(Response.json({ items, next_before: null, counts, subjects: {}, now: '2026-11-24T00:01:00Z' }));
    });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  const look = async (milliseconds: number): Promise<number> => {
    asked.length = 0;
    await vi.advanceTimersByTimeAsync(milliseconds);
    return asked.length;
  };

  it('looks every two seconds while something runs, seldom then, and not while hidden', async () => {
    items = [raw('1', 'running')];
    const stop = new JobsStore(null).watch();
    await look(0);
    expect(await look(10_100)).toBe(5);
    items = [raw('1', 'done')];
    await look(2_000);
    expect(await look(19_000)).toBe(0);
    expect(await look(2_000)).toBe(1);
    Object.assign(document, { hidden: true });
    document.dispatchEvent(new Event('visibilitychange'));
    expect(await look(120_000)).toBe(0);
    Object.assign(document, { hidden: false });
    document.dispatchEvent(new Event('visibilitychange'));
    expect(await look(0)).toBe(0); // it asked at once, before this look began
    stop();
    expect(await look(120_000)).toBe(0);
  });

  it('asks once which series a job is about', async () => {
    items = [raw('1', 'running', { series_uid: '1.3', study_uid: '1.2' })];
    const stop = new JobsStore(null).watch();
    await look(0);
    await look(6_100);
    expect(asked.filter(({ url }) => url.includes('describe'))).toHaveLength(0);
    items = [raw('2', 'waiting', { series_uid: '1.4', study_uid: '1.2' }), ...items];
    await look(6_100);
    expect(asked.filter(({ url }) => url.includes('describe'))).toHaveLength(1);
    stop();
  });

  it('retries at one word, cancels at the second', async () => {
    items = [raw('1', 'failed'), raw('2', 'running')];
    const store = new JobsStore('demo');
    const stop = store.watch();
    await look(0);
    const [failed, running] = store.state.value.items as [Job, Job];
    asked.length = 0;
    store.retry(failed);
    store.retry(running);
    store.cancel(running);
    expect(store.state.value.confirming).toBe('2');
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toEqual([{ url: '/t/demo/api/v1/jobs/1/retry', method: 'POST' }]);
    expect(store.state.value.items[0]?.asked).toBe('retry');
    store.point('1');
    expect(store.state.value.confirming).toBeNull();
    store.cancel(running);
    store.cancel(running);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked.at(-1)?.url).toBe('/t/demo/api/v1/jobs/2/cancel');
    stop();
  });

  it('keeps what it has while the server is away, and says so', async () => {
    items = [raw('1', 'running')];
    const store = new JobsStore(null);
    const stop = store.watch();
    await look(0);
    away = true;
    await look(2_000);
    expect(store.state.value.failure?.what).toContain('could not reach');
    expect(ids(store.state.value.items)).toEqual(['1']);
    store.cancel(store.state.value.items[0] as Job);
    store.cancel(store.state.value.items[0] as Job);
    await vi.advanceTimersByTimeAsync(0);
    expect(store.state.value.refusals.get('1')?.what).toContain('could not reach');
    away = false;
    await look(30_000);
    expect(store.state.value.failure).toBeNull();
    stop();
  });
});
