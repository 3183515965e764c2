import { describe, expect, it } from 'vitest';
import { providerPath, wayOut } from '../../src/client/people';
import { overText, problemText } from '../../src/panels/sign-in-text';

describe('what went wrong at an identity provider', () => {
  it.each(['again', 'away', 'cancelled', 'declined', 'no-address', 'no-login', 'no-provider', 'no-role', 'other', 'shut', 'taken', 'too-many', 'unproved'])(
    '%s is a sentence and an advice',
    (word) => {
      const said = problemText(`?problem=${word}`);
      expect(said?.what).toMatch(/^[A-Z].*\.$/);
      expect(said?.advice).toMatch(/^[A-Z].*\.$/);
    },
  );

  it('names the part that does not answer', () => {
    expect(problemText('?problem=away&at=tls')?.what).toContain('(tls).');
    expect(problemText('?problem=away&at=<b>')?.what).not.toContain('<');
    expect(problemText('?problem=no-role&at=tls')?.what).not.toContain('tls');
  });

  it.each(['', '?', '?problem=', '?problem=nothing', '?problem=toString', '?problem=__proto__', '?problem=<script>'])(
    'is silent about %s',
    (search) => expect(problemText(search)).toBeNull(),
  );
});

describe('a session that is over', () => {
  it('is said to be, whichever way one comes from', () => {
    expect(overText('?signed-out')).toBe('You are signed out.');
    expect(overText('?state=signed-out')).toBe('You are signed out.');
    expect(overText('?signed-out=here')).toContain('may still be signed in there');
  });

  it.each(['', '?', '?state=', '?state=signed-out&x', '?signed-out=there', '?problem=again', 'toString'])('is not made up from %s', (search) =>
    expect(overText(search)).toBe(''),
  );

  it.each([
    [{ address: 'https://id.example/end?x=1' }, 'https://id.example/end?x=1'],
    [{ address: 'http://127.0.0.1:9000/end' }, 'http://127.0.0.1:9000/end'],
    [{ address: null }, ''],
    [{ address: 'javascript:alert(1)' }, ''],
    [{ address: '//evil.example' }, ''],
    [{}, ''],
  ])('leads on from %j', (answer, place) => expect(wayOut(answer)).toBe(place));
});

describe('the way to a provider', () => {
  it('carries where one was, and nothing of it gets out of its place', () => {
    const provider = { name: 'hospital', label: 'St. Elsewhere' };
    expect(providerPath(null, provider, '/viewer/1.2?x=1&y')).toBe('/api/v1/sign-in/provider/hospital?to=%2Fviewer%2F1.2%3Fx%3D1%26y');
    expect(providerPath('clinic', { ...provider, name: 'a/../b' }, '/')).toBe('/t/clinic/api/v1/sign-in/provider/a%2F..%2Fb?to=%2F');
  });
});
