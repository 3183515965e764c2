import { afterEach, describe, expect, it, vi } from 'vitest';
import { fetchStudies, fetchStudy } from '../../src/client/console';
import { syntaxOfPart } from '../../src/client/dicomweb';
import { get, isAbort, readJson, RequestFailure } from '../../src/client/http';
import { firstPart, parameter } from '../../src/client/multipart';
import { breakGlassPath, dicomwebRoot, jobsPath, listPath, parsePlace, reviewsPath, viewerPath } from '../../src/client/place';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const text = (data: Uint8Array): string => String.fromCharCode(...data);

describe('multipart', () => {
  const answer = (body: string): Uint8Array =>
    bytes(`--b\r\nContent-Type: application/octet-stream; transfer-syntax=1.2\r\n\r\n${body}\r\n--b--\r\n`);

  it('gives the first part without its line break', () => {
    const part = firstPart('multipart/related; boundary="b"', answer('pixels'));
    expect(text(part.body)).toBe('pixels');
    expect(parameter(part.contentType, 'transfer-syntax')).toBe('1.2');
  });

  it('is not fooled by a boundary inside the pixels or a body that ends in line breaks', () => {
    const long = `${'x'.repeat(300)}\r\n--b not the end${'y'.repeat(300)}\r\n`;
    expect(text(firstPart('multipart/related; boundary=b', answer(long)).body)).toBe(long);
  });

  it('takes a single part as it is, and refuses one without boundary or header', () => {
    expect(firstPart('image/jpeg', bytes('j')).contentType).toBe('image/jpeg');
    expect(() => firstPart('multipart/related', answer('x'))).toThrow(/boundary/);
    expect(() => firstPart('multipart/related; boundary=b', bytes('--b\r\nContent-Type: x'))).toThrow(/no part/);
    expect(() => firstPart('multipart/related; boundary=q', answer('x'))).toThrow(/no part/);
  });

  it('knows the syntax of a part by name or by its media type', () => {
    expect(syntaxOfPart('application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80')).toBe('1.2.840.10008.1.2.4.80');
    expect(syntaxOfPart('application/octet-stream')).toBe('1.2.840.10008.1.2.1');
    expect(syntaxOfPart('image/jphc')).toBe('1.2.840.10008.1.2.4.201');
    expect(syntaxOfPart('video/mp4')).toBeNull();
  });
});

describe('addresses', () => {
  it('name the tenant and the study, or fall back to the list', () => {
    expect(parsePlace('/')).toEqual({ tenant: null, screen: { kind: 'list' } });
    expect(parsePlace('/t/demo/')).toEqual({ tenant: 'demo', screen: { kind: 'list' } });
    expect(parsePlace('/t/demo/viewer/1.2.3')).toEqual({ tenant: 'demo', screen: { kind: 'viewer', study: '1.2.3' } });
    expect(parsePlace('/jobs')).toEqual({ tenant: null, screen: { kind: 'jobs' } });
    expect(parsePlace('/t/demo/jobs')).toEqual({ tenant: 'demo', screen: { kind: 'jobs' } });
    expect(parsePlace('/t/demo/break-glass')).toEqual({ tenant: 'demo', screen: { kind: 'break-glass' } });
    expect(parsePlace('/reviews')).toEqual({ tenant: null, screen: { kind: 'reviews' } });
    expect(parsePlace('/viewer/1.2.3').screen).toEqual({ kind: 'viewer', study: '1.2.3' });
    expect(parsePlace('/viewer/%3Cscript%3E').screen).toEqual({ kind: 'list' });
    expect(parsePlace('/t/..%2f/viewer/1').tenant).toBeNull();
  });

  it('go back and forth', () => {
    for (const tenant of [null, 'demo']) {
      expect(parsePlace(viewerPath(tenant, '1.2')).tenant).toBe(tenant);
      expect(parsePlace(listPath(tenant)).tenant).toBe(tenant);
      expect(parsePlace(breakGlassPath(tenant))).toEqual({ tenant, screen: { kind: 'break-glass' } });
      expect(parsePlace(reviewsPath(tenant))).toEqual({ tenant, screen: { kind: 'reviews' } });
      expect(parsePlace(jobsPath(tenant))).toEqual({ tenant, screen: { kind: 'jobs' } });
    }
    expect(dicomwebRoot('demo')).toBe('/t/demo/dicomweb');
  });
});

describe('requests', () => {
  afterEach(() => vi.unstubAllGlobals());

  const answerWith = (make: () => Response | Promise<Response>): void => {
    vi.stubGlobal('fetch', vi.fn(make));
  };
  const failure = async (): Promise<RequestFailure> => {
    const error: unknown = await get('/x', 'Loading it', readJson, { deadline: 30 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestFailure);
    return error as RequestFailure;
  };

  it('say what failed and what to do', async () => {
    answerWith(() => Response.json({ title: 'Held for review' }, { status: 410 }));
    const refused = await failure();
    expect(refused.what).toBe('Loading it failed: Held for review.');
    expect(refused.advice).toContain('archive team');
    answerWith(() => Response.json({ detail: 'No such tenant.', remedy: 'Ask for its name.' }, { status: 404 }));
    expect(await failure()).toMatchObject({ what: 'Loading it failed: No such tenant.', advice: 'Ask for its name.' });
    answerWith(() => new Response('<html>', { status: 502 }));
    expect((await failure()).what).toBe('Loading it failed (502).');
    answerWith(() => Promise.reject(new TypeError('refused')));
    expect((await failure()).what).toContain('could not reach');
  });

  it('have a deadline', async () => {
    vi.stubGlobal('fetch', (_: string, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    );
    expect((await failure()).what).toContain('too long');
  });

  it('pass on an abort as an abort', async () => {
    const life = new AbortController();
    life.abort();
    vi.stubGlobal('fetch', (_: string, { signal }: { signal: AbortSignal }) => Promise.reject(signal.reason as Error));
    const error: unknown = await get('/x', 'Loading', readJson, { signal: life.signal }).catch((e: unknown) => e);
    expect(isAbort(error)).toBe(true);
  });

  it('read a page of studies, and only pictures of this server', async () => {
    const row = { study_uid: '1.2', patient_name: 'DOE^J', held: 2, thumbnail: 'https://elsewhere/x.jpg', modalities: ['CT', 5] };
    answerWith(() => Response.json({ items: [row, { study_uid: '' }, 7], next_cursor: 'c', total: 3 }));
    const query = { text: 'doe', modality: 'CT', from: '2024-01-02', to: '', sort: '-StudyDate' };
    const page = await fetchStudies('demo', query, null);
    expect(page.items).toHaveLength(1);
    expect(page.items[0]).toMatchObject({ study: '1.2', held: 2, thumbnail: null, modalities: ['CT'] });
    expect([page.next, page.total]).toEqual(['c', 3]);
    const url = vi.mocked(fetch).mock.calls[0]?.[0] as string;
    expect(url).toMatch(/^\/t\/demo\/api\/v1\/studies\?/);
    expect(url).toContain('from=20240102');
  });

  it('refuse an answer about another study', async () => {
    answerWith(() => Response.json({ study_uid: '9.9', series: [] }));
    await expect(fetchStudy(null, '1.2')).rejects.toThrow(/another study/);
  });
});
