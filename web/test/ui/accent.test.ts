import { describe, expect, it } from 'vitest';
import { accented, accentOf, marked } from '../../src/ui/accent';

describe('an accent', () => {
  it('is a colour and nothing else', () => {
    expect(accentOf('#5fb3ce')).toBe('#5fb3ce');
    for (const wrong of ['', '#FFF', '#5FB3CE', 'red', '#5fb3ce;}', 'url(x)', '#5fb3ce00']) expect(accentOf(wrong)).toBe('');
  });

  it('changes the sign-in page and marks the headers', () => {
    expect(accented('#ffb74d')).toMatchObject({ '--accent': '#ffb74d' });
    expect(marked('#ffb74d')).toEqual({ '--tenant': '#ffb74d' });
  });

  it('changes nothing where there is none', () => {
    expect(accented('')).toEqual({});
    expect(marked('')).toEqual({});
  });
});
