import { afterEach, describe, expect, it, vi } from 'vitest';
import { get, onProofWanted, onSignedOut, post, readJson, renewal, RequestFailure } from '../../src/client/http';

const WANTED = { type: 'urn:lightwell:prove-again', detail: 'First prove again who you are.' };

describe('a request that wants a proof', () => {
  afterEach(() => vi.unstubAllGlobals());

  const answers = (...made: (() => Response)[]): ReturnType<typeof vi.fn> => {
    const fetched = vi.fn(() => {
      const next = made.shift();
      if (!next) throw new Error('one request too many');
      return Promise.resolve(next());
    });
    vi.stubGlobal('fetch', fetched);
    return fetched;
  };
  const refused = (body: object = WANTED, status = 403) => (): Response => Response.json(body, { status });
  const fine = (): Response => Response.json({ ok: 1 });

  it('is repeated once, after the proof', async () => {
    const fetched = answers(refused(), fine);
    const prove = vi.fn(() => Promise.resolve(true));
    onProofWanted(prove);
    expect(await post('/x', { a: 1 }, 'Doing it', readJson)).toEqual({ ok: 1 });
    expect(prove).toHaveBeenCalledOnce();
    expect(fetched.mock.calls[0]).toEqual([fetched.mock.calls[1]?.[0], expect.objectContaining({ body: '{"a":1}' })]);
  });

  it('is refused when the person would rather not, and never asks twice', async () => {
    answers(refused());
    onProofWanted(() => Promise.resolve(false));
    await expect(get('/x', 'Reading it', readJson)).rejects.toMatchObject({ wantsProof: true, status: 403 });
    answers(refused(), refused());
    onProofWanted(() => Promise.resolve(true));
    await expect(get('/x', 'Reading it', readJson)).rejects.toBeInstanceOf(RequestFailure);
  });

  it('is told from one that is simply not allowed', async () => {
    answers(refused({ detail: 'Not allowed.' }));
    const prove = vi.fn(() => Promise.resolve(true));
    onProofWanted(prove);
    await expect(get('/x', 'Reading it', readJson)).rejects.toMatchObject({ wantsProof: false });
    expect(prove).not.toHaveBeenCalled();
  });
});

describe('a request that went out with the cookie of before a proof', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('is asked again, and nobody is signed out', async () => {
    const out = vi.fn();
    onSignedOut(out);
    let proved: (response: Response) => void = () => undefined;
    const old = [Response.json({}, { status: 401 }), Response.json({ ok: 1 })];
    vi.stubGlobal('fetch', (url: string) =>
      url.includes('/prove') ? new Promise<Response>((done) => (proved = done)) : Promise.resolve(old.shift()),
    );
    const renewed = renewal(post('/api/v1/prove/password', {}, 'Proving', readJson));
    const reading = get('/images', 'Reading', readJson);
    proved(Response.json({ name: 'ada' }));
    await renewed;
    expect(await reading).toEqual({ ok: 1 });
    expect(out).not.toHaveBeenCalled();
  });

  it('is signed out when there was no proof', async () => {
    const out = vi.fn();
    onSignedOut(out);
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({}, { status: 401 })));
    await expect(get('/images', 'Reading', readJson)).rejects.toMatchObject({ status: 401 });
    expect(out).toHaveBeenCalledOnce();
  });
});
