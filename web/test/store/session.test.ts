import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { get, readJson } from '../../src/client/http';
import { ended, leave, look, session } from '../../src/store/session';

const ME = { kind: 'person', name: 'ada', roles: [], tenant: 'default', label: '', accent: '', home: 'default', may: [] };

describe('a session that is over', () => {
  beforeEach(async () => {
    vi.stubGlobal('location', { assign: vi.fn() });
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json(ME)));
    await look(null);
  });
  afterEach(() => vi.unstubAllGlobals());

  const refuse = (): void => {
    vi.stubGlobal('fetch', (url: string) =>
      Promise.resolve(url.endsWith('/sign-out') ? new Response(null, { status: 204 }) : new Response(null, { status: 401 })),
    );
  };
  const ask = (): Promise<unknown> => get('/api/v1/x', 'Reading it', readJson).catch(() => undefined);

  it('is said to whoever did not end it', async () => {
    expect(ended.value).toBe(false);
    refuse();
    await ask();
    expect([session.value, ended.value]).toEqual([null, true]);
  });

  it('is not said to whoever was not signed in, nor after another sign-in', async () => {
    expect(ended.value).toBe(false);
    session.set(null);
    refuse();
    await ask();
    expect(ended.value).toBe(false);
  });

  it('is not said to whoever signs out', async () => {
    refuse();
    await leave(null);
    await ask(); // what a page that is about to go still asks
    expect([session.value, ended.value]).toEqual([null, false]);
  });
});
