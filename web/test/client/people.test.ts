import { afterEach, describe, expect, it, vi } from 'vitest';
import { fetchEnrolment } from '../../src/client/people';

describe('what a link lets one choose', () => {
  afterEach(() => vi.unstubAllGlobals());

  const refuse = (detail: string): void => {
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ detail }, { status: 400 })));
  };

  it('says of a login that is none that it is the login, not the link', async () => {
    refuse('A login has letters.');
    await expect(fetchEnrolment(null, 'lwl_x', 'no login!')).rejects.toMatchObject({ what: 'Choosing the login failed: A login has letters.' });
    await expect(fetchEnrolment(null, 'lwl_x', '')).rejects.toMatchObject({ what: 'Opening the link failed: A login has letters.' });
  });
});
