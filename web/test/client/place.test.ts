import { describe, expect, it } from 'vitest';
import { adminPath, parsePlace, placeOf, signInPath } from '../../src/client/place';

describe('addresses of the administration', () => {
  it('are read as they are written', () => {
    for (const tenant of [null, 'demo']) {
      for (const section of ['', 'people', 'break-glass']) {
        expect(parsePlace(adminPath(tenant, section))).toEqual({ tenant, screen: { kind: 'admin', section } });
      }
      expect(parsePlace(signInPath(tenant))).toEqual({ tenant, screen: { kind: 'sign-in' } });
    }
  });

  it('name no section that could not be one', () => {
    expect(parsePlace('/admin/<b>')).toEqual({ tenant: null, screen: { kind: 'admin', section: '' } });
  });

  it('of the first tenant are the bare ones', () => {
    expect(placeOf('default')).toBeNull();
    expect(placeOf('clinic')).toBe('clinic');
  });
});
