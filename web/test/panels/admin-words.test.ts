import { describe, expect, it } from 'vitest';
import { readExamined, readExplained, readKey, readPeer, readPerson, readProvider, readRegion, readStanding, readTenant, type Decision } from '../../src/client/admin';
import {
  actionText,
  agentText,
  byRoom,
  callbackOf,
  fingerprint,
  formatBytes,
  groupRows,
  groupsText,
  initials,
  keyState,
  linesOf,
  linkAddress,
  matches,
  parsedBytes,
  reasonText,
  relationText,
  roleMap,
  roomOf,
  stepAdvice,
  stepDetail,
  stepText,
  wordsOf,
} from '../../src/panels/admin/words';

const decision = (action: string, allowed: boolean, reason: string): Decision => ({
  action,
  allowed,
  partly: false,
  reason,
  policies: [],
});

describe('what somebody may do', () => {
  it('has words for an action, and spells out one it does not know', () => {
    expect(actionText('archive:study:query')).toBe('Search studies');
    expect(actionText('glass:seal:break')).toBe('Break seal');
    expect(actionText('odd')).toBe('odd');
    expect(roomOf('archive:study:query')).toBe('Images');
    expect(roomOf('break-glass:grant:open')).toBe('Break glass');
  });

  it('says why without naming the action again', () => {
    expect(reasonText(decision('archive:study:query', false, 'patient may not archive:study:query'))).toBe('No policy permits it.');
    expect(reasonText(decision('archive:study:query', true, 'radiologists read images'))).toBe('Radiologists read images.');
    expect(reasonText(decision('archive:study:query', false, 'the tenant is suspended'))).toBe('The tenant is suspended.');
  });

  it('is put into rooms in the order it came, and cut to what is searched', () => {
    const all = [
      decision('archive:study:query', true, 'a'),
      decision('people:person:add', false, 'b'),
      decision('archive:study:correct', false, 'c'),
    ];
    expect(byRoom(all).map((room) => [room.name, room.decisions.length])).toEqual([
      ['Images', 2],
      ['People and sign-in', 1],
    ]);
    expect(byRoom(all, 'correct').flatMap((room) => room.decisions.map((d) => d.action))).toEqual(['archive:study:correct']);
    expect(byRoom(all, 'nothing like it')).toEqual([]);
  });
});

describe('a link', () => {
  it('leads to this machine by its name, because passkeys are bound to one', () => {
    expect(linkAddress('http://127.0.0.1:8042', null, 'enrol', 'lwl_x')).toBe('http://localhost:8042/enrol#lwl_x');
    expect(linkAddress('http://[::1]:8042', 'demo', 'sign-in', 'lwl_x')).toBe('http://localhost:8042/t/demo/sign-in#lwl_x');
    expect(linkAddress('https://pacs.example', 'clinic', 'enrol', 'lwl_x')).toBe('https://pacs.example/t/clinic/enrol#lwl_x');
  });
});

describe('an identity provider', () => {
  const roles = new Map([
    ['readers', ['radiologist', 'technologist']],
    ['*', ['referrer']],
  ]);

  it('has its groups as rows of one role, and rows as groups again', () => {
    const rows = groupRows(roles);
    expect(rows).toEqual([
      { group: 'readers', role: 'radiologist' },
      { group: 'readers', role: 'technologist' },
      { group: '*', role: 'referrer' },
    ]);
    expect(roleMap(rows)).toEqual(Object.fromEntries(roles));
    expect(groupsText(roles)).toBe('readers: radiologist, technologist; whoever it lets in: referrer');
  });

  it('has no group without a name, and none twice', () => {
    const typed = [
      { group: ' it ', role: 'admin' },
      { group: 'it', role: 'admin' },
      { group: '  ', role: 'admin' },
      { group: 'x', role: '' },
    ];
    expect(roleMap(typed)).toEqual({ it: ['admin'] });
    expect(Object.keys(roleMap([{ group: '__proto__', role: 'admin' }]))).toEqual(['__proto__']);
  });

  it.each([
    ['sso', 'https://pacs.example/t/NAME/api/v1/sign-in/provider/sso/callback'],
    ['', ''],
    ['S S O', ''],
    ['../x', ''],
    ['-x', ''],
  ])('called %j sends browsers back to %j', (name, address) =>
    expect(callbackOf('https://pacs.example/t/NAME/api/v1/sign-in/provider/NAME/callback', name)).toBe(address));

  it('sends nobody anywhere while the server does not know its own address', () => expect(callbackOf(null, 'sso')).toBe(''));

  it('is looked at in words, with what to do about the part that failed', () => {
    const good = { step: 'address', good: true, text: '' };
    expect(stepText('tls')).toBe('Its certificate is good for that name');
    expect(stepText('aura')).toBe('aura');
    expect(stepDetail({ step: 'connection', good: true, text: 'something answers there' })).toBe('');
    expect(stepDetail({ step: 'keys', good: true, text: '2 keys' })).toBe('2 keys');
    expect(stepDetail({ step: 'keys', good: false, text: 'it shows none.' })).toBe('Not so: it shows none.');
    expect(stepAdvice([good])).toBe('');
    expect(stepAdvice([good, { step: 'client', good: false, text: '' }])).toContain('client ID and secret');
    expect(stepAdvice([{ step: 'aura', good: false, text: '' }])).toContain('own log');
  });
});

describe('what somebody reaches', () => {
  it.each([
    [{ kind: 'treats', name: 'P1', issuer: 'NORTH' }, 'Treats the patient P1 of NORTH'],
    [{ kind: 'treats-study', name: '1.2.3', issuer: '' }, 'Treats the study 1.2.3'],
    [{ kind: 'owns', name: 'P1', issuer: '' }, 'owns P1'],
  ])('%o is said', (relation, said) => expect(relationText(relation)).toBe(said));

  it('is limited to what stands on lines of their own: names hold blanks and commas', () => {
    expect(linesOf(' Klinik, Nord \n\nMR\r\nMR')).toEqual(['Klinik, Nord', 'MR']);
    expect(linesOf('')).toEqual([]);
  });
});

describe('a key', () => {
  const now = Date.UTC(2026, 10, 30);
  const day = 86_400_000;
  it.each([
    [{ expires: now + 40 * day, revoked: null }, '40 days left', 'quiet'],
    [{ expires: now + 13.5 * day, revoked: null }, '14 days left', 'warn'],
    [{ expires: now + day / 2, revoked: null }, 'Ends within a day', 'warn'],
    [{ expires: now, revoked: null }, 'Expired', 'danger'],
    [{ expires: now + day, revoked: now - day }, 'Revoked', 'danger'],
  ])('%o says %s', (key, text, tone) => expect(keyState(key, now)).toEqual({ text, tone }));
});

describe('small words', () => {
  it.each([
    ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36', 'Chrome on Linux'],
    ['Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0', 'Edge on Windows'],
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/19 Mobile Safari/604', 'Safari on iPhone'],
    ['Mozilla/5.0 (Android 16; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0', 'Firefox on Android'],
    ['curl/8.1', 'curl'],
    ['', ''],
  ])('%s is %s', (agent, said) => expect(agentText(agent)).toBe(said));

  it.each([
    ['Ada Lovelace', 'ada', 'AL'],
    ['', 'grace.hopper', 'GH'],
    ['', 'ada', 'A'],
    ['Ōe', 'x', 'Ō'],
    ['', '', ''],
  ])('%s %s has the initials %s', (name, login, letters) => expect(initials({ name, login })).toBe(letters));

  it('finds every word anywhere', () => {
    expect(matches('ada RADIO', 'Ada Lovelace', 'radiologist')).toBe(true);
    expect(matches('ada admin', 'Ada Lovelace', 'radiologist')).toBe(false);
    expect(matches('', 'anything')).toBe(true);
  });

  it('reads lists and fingerprints as people type them', () => {
    expect(wordsOf(' a, b  c\n')).toEqual(['a', 'b', 'c']);
    expect(fingerprint('AB:cd 0F')).toBe('abcd0f');
  });

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_500, '1.5 kB'],
    [250_000_000, '250 MB'],
    [7_300_000_000_000, '7.3 TB'],
  ])('%d bytes are %s', (bytes, said) => expect(formatBytes(bytes)).toBe(said));
});

describe('answers of the server', () => {
  it('are looked at: what is not what it must be is empty', () => {
    expect(readPerson({ login: 'ada', roles: ['x', 7, null], disabled: 'yes', created: 'never' })).toEqual({
      login: 'ada',
      name: '',
      roles: ['x'],
      disabled: false,
      issuer: null,
      sealed: false,
      places: [],
      unsealed: null,
      created: null,
      enrolled: true,
    });
    expect(readStanding({ relations: [{ kind: 'is' }, { kind: 'is', name: 'P1' }], limits: { site: 'x', modality: ['CT', 3] } })).toEqual({
      relations: [{ kind: 'is', name: 'P1', issuer: '' }],
      limits: { site: [], department: [], modality: ['CT'] },
    });
    expect(readProvider({ name: 'sso', enabled: 'yes', roles: { it: ['admin', 1], x: 'admin' } })).toMatchObject({
      label: 'sso',
      enabled: false,
      roles: new Map([
        ['it', ['admin']],
        ['x', []],
      ]),
    });
    expect(readExamined({ well: 'yes', steps: [{ step: 'tls', good: 1, text: 'x' }] })).toEqual({
      well: false,
      steps: [{ step: 'tls', good: false, text: 'x' }],
    });
    expect(readKey(null).id).toBe('');
    expect(readPeer({ aet: 'CT1', port: '104', certificate: '' })).toMatchObject({ aet: 'CT1', port: 0, certificate: null, callable: false });
    const explained = readExplained({ decisions: [{ action: 'a:b:c', allowed: 1 }], policies: [{ name: 'p', effect: 'odd' }] });
    expect(explained.decisions[0]?.allowed).toBe(false);
    expect(explained.policies.get('p')?.effect).toBe('forbid');
  });
});

describe('a number of bytes as it is typed', () => {
  it.each([
    ['2 TB', 2e12],
    ['500GB', 5e11],
    ['1.5 kB', 1500],
    ['2 tb', 2e12],
    ['lots', null],
    [' 7 ', 7],
    ['0', 0],
    ['', null],
    ['-1', null],
    ['2 parsecs', null],
    ['1e9', null],
  ])('%s', (text, bytes) => {
    expect(parsedBytes(text)).toBe(bytes);
  });

  it('comes back from what is shown', () => {
    for (const bytes of [1e3, 12e6, 2e12]) expect(parsedBytes(formatBytes(bytes))).toBe(bytes);
  });
});

describe('a tenant as the API tells it', () => {
  it('lies in a region', () => {
    expect(readTenant({ name: 'clinic', region: 'geneva' })).toMatchObject({ region: 'geneva' });
    expect(readRegion({ name: 'geneva', jurisdiction: 'CH', store: 's3://bucket' })).toEqual({ name: 'geneva', jurisdiction: 'CH' });
    expect(readRegion('geneva')).toEqual({ name: '', jurisdiction: '' });
  });

  it('has no limit where none is said', () => {
    const told = readTenant({ name: 'clinic', suspended: true, suspension: 'why', quota_bytes: null, quota_studies: 0, used_bytes: 5 });
    expect(told).toMatchObject({ label: 'clinic', suspension: 'why', quotaBytes: null, quotaStudies: 0, usedBytes: 5, usedStudies: 0 });
  });
});
