/** Administration in plain words. Pure. */
import type { Decision, Key, Limit, Person, Provider, Relation, Session, Step } from '../../client/admin';

export interface Role {
  readonly name: string;
  readonly says: string;
}

/** What a person or program can be in its tenant, in the order they are offered. */
export const ROLES: readonly Role[] = [
  { name: 'admin', says: 'Runs the tenant: people, machines, policies. In “default”: the whole installation.' },
  { name: 'pacs-admin', says: 'Runs the archive: machines, corrections, background work.' },
  { name: 'radiologist', says: 'Reads images.' },
  { name: 'technologist', says: 'Makes images and corrects who and what they are of.' },
  { name: 'referrer', says: 'Sees the patients they sent.' },
  { name: 'patient', says: 'Sees their own images.' },
  { name: 'researcher', says: 'Sees images without a person behind them.' },
  { name: 'auditor', says: 'Sees records of what was done, not images.' },
  { name: 'integration', says: 'A program beside us: information system, router, AI.' },
  { name: 'support', says: 'The vendor’s people, while the tenant lets them in.' },
];

const HOW: Readonly<Record<string, string>> = {
  password: 'Password',
  'password+totp': 'Password and code',
  'password+recovery': 'Password and recovery code',
  passkey: 'Passkey',
  link: 'One-time link',
  openid: 'Identity provider',
  sealed: 'Password from an envelope',
};

/** How somebody signed in. */
export const howText = (how: string): string => HOW[how] ?? how;

export interface RelationWord extends Role {
  readonly title: string;
  readonly of: string;
  /** What the issuer is; nothing: it has none. */
  readonly by: string;
}

/** What somebody can be to a patient or study. */
export const RELATIONS: readonly RelationWord[] = [
  { name: 'treats', title: 'Treats a patient', says: 'Sees all studies of that patient.', of: 'Patient ID', by: 'Issuer of the ID' },
  { name: 'treats-study', title: 'Treats a study', says: 'Sees it, and what is relevant beside it.', of: 'Study Instance UID', by: '' },
  { name: 'refers-as', title: 'Orders studies as', says: 'Sees what names them by that code as referring physician.', of: 'Code', by: 'Coding scheme' },
  { name: 'is', title: 'Is the patient', says: 'Sees their own studies.', of: 'Patient ID', by: 'Issuer of the ID' },
];

const RELATION_WORDS: Readonly<Record<string, string>> = {
  treats: 'Treats the patient',
  'treats-study': 'Treats the study',
  'refers-as': 'Orders studies as',
  is: 'Is the patient',
};

/** "Treats the patient P1 of NORTH". */
export const relationText = ({ kind, name, issuer }: Relation): string =>
  `${RELATION_WORDS[kind] ?? kind} ${name}${issuer && ` of ${issuer}`}`;

export const LIMIT_WORDS: Readonly<Record<Limit, { readonly title: string; readonly says: string }>> = {
  site: { title: 'Institutions', says: 'Institution Name as in the images, one on a line.' },
  department: { title: 'Departments', says: 'Institutional Department Name, one on a line.' },
  modality: { title: 'Modalities', says: 'CT, MR, US …, one on a line.' },
};

/** What was typed on lines of their own, without those that are empty. */
export const linesOf = (typed: string): readonly string[] => [...new Set(typed.split('\n').map((line) => line.trim()).filter(Boolean))];

export interface GroupRow {
  readonly group: string;
  readonly role: string;
}

/** A map of groups as rows of one role each, in its order. */
export const groupRows = (roles: Provider['roles']): readonly GroupRow[] =>
  [...roles].flatMap(([group, given]) => given.map((role) => ({ group, role })));

/** The map that rows say; a row without a group says nothing, a group that comes again has several roles. */
export function roleMap(rows: readonly GroupRow[]): Readonly<Record<string, readonly string[]>> {
  const map = new Map<string, string[]>();
  for (const { group, role } of rows) {
    const name = group.trim();
    if (!name || !role) continue;
    const given = map.get(name) ?? [];
    if (!given.includes(role)) map.set(name, [...given, role]);
  }
  return Object.fromEntries(map);
}

/** "readers: radiologist; whoever it lets in: referrer". */
export const groupsText = (roles: Provider['roles']): string =>
  [...roles].map(([group, given]) => `${group === '*' ? 'whoever it lets in' : group}: ${given.join(', ')}`).join('; ');

/** The address of one provider; nothing while it has no name that can stand in one. */
export const callbackOf = (template: string | null, name: string): string =>
  template !== null && /^[a-z0-9][a-z0-9-]{0,31}$/.test(name) ? template.replace('/NAME/callback', `/${name}/callback`) : '';

const STEPS: Readonly<Record<string, readonly [string, string]>> = {
  address: ['Its name has an address', 'Look for a typing error in the issuer, and whether this server’s name service knows it.'],
  connection: ['Something answers there', 'Look whether a firewall lets this server reach it, and whether it runs.'],
  tls: ['Its certificate is good for that name', 'A hospital’s own authority has to be trusted by this machine, or named in SSL_CERT_FILE.'],
  discovery: ['It describes itself', 'The issuer is its address up to /.well-known/openid-configuration.'],
  issuer: ['It calls itself what we call it', 'Copy the issuer from its description to the letter; a slash at the end counts.'],
  clock: ['Its clock and ours agree', 'Set both clocks by a time server.'],
  keys: ['It shows keys for its signatures', 'It has to sign with RS, PS or ES (256, 384, 512).'],
  client: ['It knows us', 'Compare client ID and secret with what is registered there.'],
  token: ['It gives a token', 'Look at the provider’s own log.'],
  claims: ['It says who somebody is', 'Look at the provider’s own log.'],
  'sign-out': ['It names where one signs out', 'Its description has no end_session_endpoint for us: signing out stays here until it has.'],
};

/** A part of a connection in words; one that is not known by its name. */
export const stepText = (step: string): string => STEPS[step]?.[0] ?? step;

/** What was found of a part, where it says more than the part's name. */
export function stepDetail({ step, good, text }: Step): string {
  if (!good) return `Not so: ${text}`;
  return text.toLowerCase() === stepText(step).toLowerCase() ? '' : text;
}

/** What to do about the part that failed; nothing when none did. */
export function stepAdvice(steps: readonly Step[]): string {
  const failed = steps.find((each) => !each.good);
  return failed ? (STEPS[failed.step]?.[1] ?? 'Look at the provider’s own log.') : '';
}

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bFirefox\/|\bFxiOS\//, 'Firefox'],
  [/Chrome\/|CriOS\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
  [/^curl\//, 'curl'],
  [/^python/i, 'a Python program'],
];
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/Android/, 'Android'],
  [/iPhone/, 'iPhone'],
  [/iPad/, 'iPad'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'Mac'],
  [/Linux|X11/, 'Linux'],
];
const first = (table: readonly (readonly [RegExp, string])[], agent: string): string =>
  table.find(([sign]) => sign.test(agent))?.[1] ?? '';

/** "Chrome on Linux" of a User-Agent; nothing of one that says neither. */
export function agentText(agent: string): string {
  const browser = first(BROWSERS, agent);
  const system = first(SYSTEMS, agent);
  return browser && system ? `${browser} on ${system}` : browser || system;
}

export interface GrantWord {
  readonly name: string;
  readonly says: string;
}

/** What a machine can be allowed. */
export const GRANTS: readonly GrantWord[] = [
  { name: 'store', says: 'send images here' },
  { name: 'find', says: 'search' },
  { name: 'move', says: 'have images sent (C-MOVE)' },
  { name: 'get', says: 'fetch images (C-GET)' },
];

export const PEER_TYPES: readonly Role[] = [
  { name: 'modality', says: 'Makes images: CT, MR, ultrasound' },
  { name: 'workstation', says: 'Shows images: search, fetch, and receive what it asked for' },
  { name: 'archive', says: 'Another archive; may nothing until it is said' },
  { name: 'ai', says: 'A program that reads images; may nothing until it is said' },
];

export const SETTLINGS: readonly Role[] = [
  { name: 'settle', says: 'Pixels are packed where the original comes back byte for byte; everything else lies as received.' },
  { name: 'as-received', says: 'Nothing is packed: series lie as they came.' },
  {
    name: 'pixel-exact',
    says: 'Compressed originals are packed, too. Every pixel value comes back; the original bytes of lossless compressed images do not.',
  },
];
export const SETTLING_NAMES: Readonly<Record<string, string>> = {
  settle: 'Byte for byte',
  'as-received': 'As received',
  'pixel-exact': 'Pixel-exact',
};

const ROOMS: Readonly<Record<string, string>> = {
  archive: 'Images',
  peers: 'Machines',
  people: 'People and sign-in',
  policy: 'Policies',
  tenants: 'Tenants',
  work: 'Background work',
};

/** "archive:study:query" -> "Images". */
export function roomOf(action: string): string {
  const room = action.split(':')[0] ?? '';
  return ROOMS[room] ?? (room && room[0]!.toUpperCase() + room.slice(1).replaceAll('-', ' '));
}

const ACTIONS: Readonly<Record<string, string>> = {
  'archive:aside:list': 'See what is held, in conflict or unreadable',
  'archive:commitment:request': 'Ask us to take responsibility for images',
  'archive:index:rebuild': 'Rebuild the index',
  'archive:instance:retrieve': 'Open images',
  'archive:instance:store': 'Store images',
  'archive:series:cool': 'Move series to the cool store',
  'archive:series:settle': 'Pack series',
  'archive:statistics:read': 'See totals',
  'archive:store:check': 'Check what is stored',
  'archive:study:correct': 'Correct patient and study data',
  'archive:study:mark': 'Mark studies as sensitive',
  'archive:study:query': 'Search studies',
  'archive:study:recall': 'Bring series back from the cool store',
  'archive:study:reject': 'Take images out of the lists',
  'archive:study:restore': 'Put rejected images back',
  'archive:study:undo': 'Undo a correction',
  'peers:door:read': 'See what the DICOM door counts and whom it turned away',
  'peers:peer:add': 'Let a machine in, or change it',
  'peers:peer:echo': 'Ask whether we are here (C-ECHO)',
  'peers:peer:list': 'See the machines',
  'peers:peer:probe': 'Call a machine to test it',
  'peers:peer:remove': 'Shut a machine out',
  'people:glass:break': 'Open one patient in an emergency',
  'people:glass:end': 'End what one has opened in an emergency',
  'people:glass:list': 'See what was opened in emergencies',
  'people:glass:review': 'Judge what was opened in emergencies',
  'people:key:create': 'Give a program a key',
  'people:key:list': 'See the keys of programs',
  'people:key:revoke': 'Take a key away',
  'people:link:create': 'Make sign-in links',
  'people:person:add': 'Add people',
  'people:person:change': 'Change roles, shut or open accounts',
  'people:person:list': 'See the people',
  'people:provider:add': 'Trust an identity provider',
  'people:provider:change': 'Change an identity provider, or switch it on or off',
  'people:provider:list': 'See the identity providers',
  'people:provider:remove': 'Trust an identity provider no longer',
  'people:provider:test': 'Ask whether an identity provider answers',
  'people:relation:change': 'Say whose patients are whose, and limits',
  'people:relation:list': 'See whose patients are whose',
  'people:seal:change': 'Seal an emergency account',
  'people:self:change': 'Change how oneself signs in',
  'people:self:read': 'See one’s own account',
  'people:session:list': 'See who is signed in',
  'people:session:open': 'Sign in',
  'people:session:prove': 'Prove again who one is',
  'people:session:revoke': 'End somebody’s session',
  'policy:decision:explain': 'Ask why somebody may or may not',
  'policy:rule:change': 'Write policies of the tenant',
  'policy:rule:list': 'See the policies',
  'tenants:support:consent': 'Let support in',
  'tenants:tenant:configure': 'Change how a tenant looks and keeps its images',
  'tenants:tenant:create': 'Make tenants',
  'tenants:tenant:erase': 'Erase tenants and all that they keep',
  'tenants:tenant:export': 'Write out all that tenants keep',
  'tenants:tenant:limit': 'Say how much tenants may keep',
  'tenants:tenant:list': 'See the tenants',
  'tenants:tenant:name': 'Say by what tenants are called',
  'tenants:tenant:suspend': 'Suspend tenants, and resume them',
  'work:job:cancel': 'Cancel background work',
  'work:job:list': 'See background work',
  'work:job:retry': 'Retry background work',
};

/** What an action is, for a reader; one without words of its own is spelled out. */
export function actionText(action: string): string {
  const known = ACTIONS[action];
  if (known) return known;
  const [, subject = '', verb = ''] = action.split(':');
  const words = `${verb} ${subject}`.trim().replaceAll('-', ' ');
  return words ? words[0]!.toUpperCase() + words.slice(1) : action;
}

export interface Room {
  readonly name: string;
  readonly decisions: readonly Decision[];
}

/** Decisions by room, in the order they came; `wanted` cuts them to what matches. */
export function byRoom(decisions: readonly Decision[], wanted = ''): readonly Room[] {
  const rooms = new Map<string, Decision[]>();
  for (const decision of decisions) {
    if (!matches(wanted, decision.action, actionText(decision.action), decision.reason)) continue;
    const name = roomOf(decision.action);
    rooms.set(name, [...(rooms.get(name) ?? []), decision]);
  }
  return [...rooms].map(([name, found]) => ({ name, decisions: found }));
}

/** The reason of a refusal without the action's name, which stands beside it. */
export const reasonText = ({ action, reason, allowed }: Decision): string =>
  !allowed && reason.endsWith(` may not ${action}`) ? 'No policy permits it.' : sentence(reason);

const sentence = (text: string): string => text && text[0]!.toUpperCase() + text.slice(1).replace(/\.?$/, '.');

/** Whether every word is somewhere in the texts. */
export function matches(wanted: string, ...texts: readonly string[]): boolean {
  const all = texts.join(' ').toLowerCase();
  return wanted.toLowerCase().split(/\s+/).filter(Boolean).every((word) => all.includes(word));
}

export const personMatches = (wanted: string) => (person: Person): boolean =>
  matches(wanted, person.login, person.name, ...person.roles, person.disabled ? 'shut' : '');
export const keyMatches = (wanted: string) => (key: Key): boolean => matches(wanted, key.name, key.madeBy, ...key.roles, ...key.scopes);
export const sessionMatches = (wanted: string) => (session: Session): boolean =>
  matches(wanted, session.name, howText(session.how), session.origin, agentText(session.agent));

/** "Ada Lovelace" -> "AL"; a login alone gives its first letter. */
export function initials(person: Pick<Person, 'login' | 'name'>): string {
  const words = (person.name || person.login).split(/[\s._-]+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => (word ? [...word][0] : ''));
  return letters.join('').toUpperCase();
}

const DAY = 86_400_000;

export interface Lasting {
  readonly text: string;
  readonly tone: 'quiet' | 'warn' | 'danger';
}

/** Whether a key still opens something, and for how long. */
export function keyState(key: Pick<Key, 'expires' | 'revoked'>, now: number): Lasting {
  if (key.revoked !== null) return { text: 'Revoked', tone: 'danger' };
  if (key.expires === null) return { text: '', tone: 'quiet' };
  const left = key.expires - now;
  if (left <= 0) return { text: 'Expired', tone: 'danger' };
  const days = Math.ceil(left / DAY);
  return { text: days === 1 ? 'Ends within a day' : `${days} days left`, tone: days <= 14 ? 'warn' : 'quiet' };
}

/** "2026-11-30 14:05" in this machine's time; nothing when it is not known. */
export const formatInstant = (at: number | null): string => (at === null ? '' : new Date(at).toLocaleString('sv-SE').slice(0, 16));

/** The address of a one-time link. Passkeys are bound to a name: loopback has one. */
export function linkAddress(origin: string, tenant: string | null, page: 'enrol' | 'sign-in', secret: string): string {
  const root = origin.replace(/^(https?:\/\/)(127\.0\.0\.1|\[::1\])/, '$1localhost');
  return `${root}${tenant === null ? '' : `/t/${tenant}`}/${page}#${secret}`;
}

/** Words typed with spaces or commas between them. */
export const wordsOf = (text: string): readonly string[] => text.split(/[\s,]+/).filter(Boolean);

/** "AB:CD…" or "abcd…" of a certificate's SHA-256 as 64 small hexadecimal digits. */
export const fingerprint = (text: string): string => text.replaceAll(/[:\s]/g, '').toLowerCase();

/** "2 TB", "500GB", "1000"; null for what is no number of bytes. */
export function parsedBytes(text: string): number | null {
  const match = /^(\d{1,12}(?:\.\d{1,3})?) ?([KMGTP]?)B?$/.exec(text.trim().toUpperCase());
  return match ? Math.round(Number(match[1]) * 1000 ** ' KMGTP'.indexOf(match[2] || ' ')) : null;
}

/** How much of what one may: "3 of 10", "3". */
export const used = (now: string, most: string | null): string => (most === null ? now : `${now} of ${most}`);

/** The same on one line, wherever that breaks. */
export const unbroken = (text: string): string => text.replaceAll(' ', '\u00a0');

/** "1.2 GB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = bytes <= 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}
