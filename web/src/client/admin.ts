/** Administration as the console API tells it: people, keys, sessions, providers, policies, tenants, peers. Answers are checked here. */
import { accentOf } from '../ui/accent';
import { count, list, object, text } from './checked';
import { change, get, readJson, readNothing, type Change, type RequestOptions } from './http';
import { consoleRoot } from './place';

export type Place = string | null;

const instant = (value: unknown): number | null => {
  const at = Date.parse(text(value));
  return Number.isNaN(at) ? null : at;
};
const texts = (value: unknown): readonly string[] => list(value).map(text).filter(Boolean);
const optional = (value: unknown): string | null => text(value) || null;

const read = (tenant: Place, path: string, what: string, options?: RequestOptions): Promise<unknown> =>
  get(`${consoleRoot(tenant)}${path}`, what, readJson, options);
const ask = (method: Change, tenant: Place, path: string, body: unknown, what: string): Promise<unknown> =>
  change(method, `${consoleRoot(tenant)}${path}`, body, what, readJson);
const remove = (tenant: Place, path: string, what: string): Promise<null> =>
  change('DELETE', `${consoleRoot(tenant)}${path}`, null, what, readNothing);
const segment = encodeURIComponent;

/** Something new and its secret, which the server tells once. */
export interface Made {
  readonly id: string;
  readonly secret: string;
}
const made = (value: unknown): Made => ({ id: text(object(value)['id']), secret: text(object(value)['secret']) });

// --- people -------------------------------------------------------------------------------------------

export interface Person {
  readonly login: string;
  readonly name: string;
  readonly roles: readonly string[];
  readonly disabled: boolean;
  /** Of the identity provider they sign in through; null: an account of this archive. */
  readonly issuer: string | null;
  /** An emergency account, whose password is in an envelope. */
  readonly sealed: boolean;
  /** Where the password of the envelope may be used: loopback, private, public, networks. */
  readonly places: readonly string[];
  /** When the envelope was opened first; null: it is shut. */
  readonly unsealed: number | null;
  readonly created: number | null;
  /** Whether they have something to sign in with: they have used a link of theirs, or come by other means. */
  readonly enrolled: boolean;
}

export function readPerson(value: unknown): Person {
  const o = object(value);
  return {
    login: text(o['login']),
    name: text(o['name']),
    roles: texts(o['roles']),
    disabled: o['disabled'] === true,
    issuer: optional(o['issuer']),
    sealed: o['sealed'] === true,
    places: texts(o['places']),
    unsealed: instant(o['unsealed']),
    created: instant(o['created']),
    enrolled: o['enrolled'] !== false,
  };
}

export const fetchPeople = async (tenant: Place, options?: RequestOptions): Promise<Person[]> =>
  list(await read(tenant, '/people', 'Loading the people', options)).map(readPerson).filter((p) => p.login);
export const addPerson = async (tenant: Place, body: { login: string; name: string; roles: readonly string[] }): Promise<Made> =>
  made(await ask('POST', tenant, '/people', body, 'Making the account'));
export const changePerson = async (tenant: Place, login: string, body: { roles?: readonly string[]; disabled?: boolean }): Promise<Person> =>
  readPerson(await ask('PATCH', tenant, `/people/${segment(login)}`, body, 'Changing the account'));
export const enrolAgain = async (tenant: Place, login: string): Promise<Made> =>
  made(await ask('POST', tenant, `/people/${segment(login)}/enrolment`, {}, 'Making the link'));
export const newSignInLink = async (tenant: Place, roles: readonly string[]): Promise<Made> =>
  made(await ask('POST', tenant, '/links', { roles }, 'Making the link'));

/** What somebody is to a patient or a study. */
export interface Relation {
  readonly kind: string;
  /** Patient ID, study UID or code. */
  readonly name: string;
  /** Of the patient ID, or the coding scheme of the code. */
  readonly issuer: string;
}

export const LIMITS = ['site', 'department', 'modality'] as const;
export type Limit = (typeof LIMITS)[number];

export interface Standing {
  readonly relations: readonly Relation[];
  /** What of each sort they are limited to; nothing: not limited. */
  readonly limits: Readonly<Record<Limit, readonly string[]>>;
}

export function readStanding(value: unknown): Standing {
  const o = object(value);
  const limits = object(o['limits']);
  return {
    relations: list(o['relations'])
      .map((each) => {
        const r = object(each);
        return { kind: text(r['kind']), name: text(r['name']), issuer: text(r['issuer']) };
      })
      .filter((relation) => relation.kind && relation.name),
    limits: { site: texts(limits['site']), department: texts(limits['department']), modality: texts(limits['modality']) },
  };
}

const ofPerson = (login: string, rest: string): string => `/people/${segment(login)}/${rest}`;
const tell = (method: Change, tenant: Place, path: string, body: unknown, what: string): Promise<null> =>
  change(method, `${consoleRoot(tenant)}${path}`, body, what, readNothing);

export const fetchStanding = async (tenant: Place, login: string, options?: RequestOptions): Promise<Standing> =>
  readStanding(await read(tenant, ofPerson(login, 'standing'), 'Loading whose patients are theirs', options));
export const relate = (tenant: Place, login: string, relation: Relation): Promise<null> =>
  tell('POST', tenant, ofPerson(login, 'relations'), relation, 'Recording it');
export const unrelate = (tenant: Place, login: string, relation: Relation): Promise<null> =>
  tell('POST', tenant, ofPerson(login, 'relations/end'), relation, 'Taking it back');
export const limitPerson = (tenant: Place, login: string, limit: Limit, values: readonly string[]): Promise<null> =>
  tell('PUT', tenant, ofPerson(login, `limits/${limit}`), { values }, 'Saving the limits');

export interface NewSeal {
  /** Of an account that is made now. */
  readonly name?: string;
  readonly roles?: readonly string[];
  readonly places: readonly string[];
}
export const sealPerson = async (tenant: Place, login: string, body: NewSeal): Promise<Made> =>
  made(await ask('POST', tenant, ofPerson(login, 'seal'), body, 'Sealing the account'));

// --- identity providers -------------------------------------------------------------------------------

export interface Provider {
  readonly name: string;
  readonly label: string;
  readonly issuer: string;
  readonly clientId: string;
  /** It has no client secret here. */
  readonly isPublic: boolean;
  readonly scopes: readonly string[];
  readonly groupsClaim: string;
  readonly loginClaim: string;
  /** What each of its groups is here. */
  readonly roles: ReadonlyMap<string, readonly string[]>;
  readonly enabled: boolean;
  /** Signing out here leads to signing out there. */
  readonly endSession: boolean;
  readonly madeBy: string;
  readonly created: number | null;
}

export function readProvider(value: unknown): Provider {
  const o = object(value);
  return {
    name: text(o['name']),
    label: text(o['label']) || text(o['name']),
    issuer: text(o['issuer']),
    clientId: text(o['client_id']),
    isPublic: o['public'] === true,
    scopes: texts(o['scopes']),
    groupsClaim: text(o['groups_claim']),
    loginClaim: text(o['login_claim']),
    roles: new Map(Object.entries(object(o['roles'])).map(([group, roles]) => [group, texts(roles)])),
    enabled: o['enabled'] === true,
    endSession: o['end_session'] === true,
    madeBy: text(o['made_by']),
    created: instant(o['created']),
  };
}

export interface ProviderPage {
  /** Where a provider sends browsers back to, with NAME for its name; null: the server does not know its own address. */
  readonly callback: string | null;
  /** Where it sends who has signed out there. */
  readonly signedOut: string | null;
  readonly items: readonly Provider[];
}

/** What is said of a provider; a secret that is not said stays, or there is none. */
export interface ProviderBody {
  readonly label: string;
  readonly client_id: string;
  readonly secret?: string;
  readonly roles: Readonly<Record<string, readonly string[]>>;
  readonly scopes: readonly string[];
  readonly groups_claim: string;
  readonly login_claim: string;
  readonly end_session: boolean;
}

export async function fetchProviders(tenant: Place, options?: RequestOptions): Promise<ProviderPage> {
  const o = object(await read(tenant, '/providers', 'Loading the identity providers', options));
  return { callback: optional(o['callback']), signedOut: optional(o['signed_out']), items: list(o['items']).map(readProvider).filter((p) => p.name) };
}
export const addProvider = async (tenant: Place, body: ProviderBody & { readonly name: string; readonly issuer: string }): Promise<Provider> =>
  readProvider(await ask('POST', tenant, '/providers', body, 'Adding the provider'));
export const changeProvider = async (tenant: Place, name: string, body: Partial<ProviderBody> & { readonly enabled?: boolean }): Promise<Provider> =>
  readProvider(await ask('PATCH', tenant, `/providers/${segment(name)}`, body, 'Changing the provider'));
export const removeProvider = (tenant: Place, name: string): Promise<null> =>
  remove(tenant, `/providers/${segment(name)}`, 'Removing the provider');

/** One part of a connection, and how it was found. */
export interface Step {
  readonly step: string;
  readonly good: boolean;
  readonly text: string;
}

export interface Examined {
  readonly well: boolean;
  readonly steps: readonly Step[];
}

export function readExamined(value: unknown): Examined {
  const o = object(value);
  const steps = list(o['steps']).map((each): Step => {
    const s = object(each);
    return { step: text(s['step']), good: s['good'] === true, text: text(s['text']) };
  });
  return { well: o['well'] === true, steps };
}

const EXAMINE_DEADLINE = 60_000;

/** Have the server look at each part of the connection to a provider. @throws RequestFailure when it could not try. */
export async function examineProvider(tenant: Place, name: string): Promise<Examined> {
  const url = `${consoleRoot(tenant)}/providers/${segment(name)}/test`;
  return readExamined(await change('POST', url, {}, 'Testing the connection', readJson, { deadline: EXAMINE_DEADLINE }));
}

// --- keys of programs ---------------------------------------------------------------------------------

export interface Key {
  readonly id: string;
  readonly name: string;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly madeBy: string;
  readonly created: number | null;
  readonly expires: number | null;
  readonly revoked: number | null;
}

export function readKey(value: unknown): Key {
  const o = object(value);
  return {
    id: text(o['id']),
    name: text(o['name']),
    roles: texts(o['roles']),
    scopes: texts(o['scopes']),
    madeBy: text(o['made_by']),
    created: instant(o['created']),
    expires: instant(o['expires']),
    revoked: instant(o['revoked']),
  };
}

export interface NewKey {
  readonly name: string;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly days: number;
}

export const fetchKeys = async (tenant: Place, options?: RequestOptions): Promise<Key[]> =>
  list(await read(tenant, '/keys', 'Loading the keys', options)).map(readKey).filter((k) => k.id);
export const addKey = async (tenant: Place, key: NewKey): Promise<Made> =>
  made(await ask('POST', tenant, '/keys', key, 'Making the key'));
export const revokeKey = (tenant: Place, id: string): Promise<null> => remove(tenant, `/keys/${segment(id)}`, 'Revoking the key');

// --- sessions -----------------------------------------------------------------------------------------

export interface Session {
  readonly id: string;
  readonly name: string;
  readonly how: string;
  readonly origin: string;
  readonly agent: string;
  readonly since: number | null;
  readonly seen: number | null;
  readonly until: number | null;
  readonly mine: boolean;
}

export function readSession(value: unknown): Session {
  const o = object(value);
  return {
    id: text(o['id']),
    name: text(o['name']),
    how: text(o['how']),
    origin: text(o['origin']),
    agent: text(o['agent']),
    since: instant(o['since']),
    seen: instant(o['seen']),
    until: instant(o['until']),
    mine: o['mine'] === true,
  };
}

const sessions = (value: unknown): Session[] => list(value).map(readSession).filter((s) => s.id);

export const fetchSessions = async (tenant: Place, options?: RequestOptions): Promise<Session[]> =>
  sessions(await read(tenant, '/sessions', 'Loading the sessions', options));
export const endSession = (tenant: Place, id: string): Promise<null> => remove(tenant, `/sessions/${segment(id)}`, 'Ending the session');
/** All of somebody; null: everybody's but one's own. */
export const endSessionsOf = (tenant: Place, of: string | null): Promise<unknown> =>
  ask('POST', tenant, '/sessions/end', { of }, 'Ending the sessions');
export const fetchOwnSessions = async (tenant: Place, options?: RequestOptions): Promise<Session[]> =>
  sessions(await read(tenant, '/me/sessions', 'Loading your sign-ins', options));
export const endOwnOthers = (tenant: Place): Promise<unknown> => ask('POST', tenant, '/me/sessions/end', {}, 'Ending your other sessions');

// --- policies -----------------------------------------------------------------------------------------

export interface Policy {
  readonly name: string;
  readonly effect: 'permit' | 'forbid';
  readonly reason: string;
  readonly shipped: boolean;
  readonly text: string;
}

export function readPolicy(value: unknown): Policy {
  const o = object(value);
  return {
    name: text(o['name']),
    effect: o['effect'] === 'permit' ? 'permit' : 'forbid',
    reason: text(o['reason']),
    shipped: o['shipped'] === true,
    text: text(o['text']),
  };
}

export interface Decision {
  readonly action: string;
  readonly allowed: boolean;
  /** Allowed with some studies only. */
  readonly partly: boolean;
  readonly reason: string;
  readonly policies: readonly string[];
}

export interface Explained {
  readonly decisions: readonly Decision[];
  /** By name. */
  readonly policies: ReadonlyMap<string, Policy>;
}

export function readExplained(value: unknown): Explained {
  const o = object(value);
  const policies = list(o['policies']).map(readPolicy);
  return {
    decisions: list(o['decisions']).map((each) => {
      const d = object(each);
      return {
        action: text(d['action']),
        allowed: d['allowed'] === true,
        partly: d['partly'] === true,
        reason: text(d['reason']),
        policies: texts(d['policies']),
      };
    }),
    policies: new Map(policies.map((policy) => [policy.name, policy])),
  };
}

export const fetchPolicies = async (tenant: Place, options?: RequestOptions): Promise<Policy[]> =>
  list(await read(tenant, '/policies', 'Loading the policies', options)).map(readPolicy).filter((p) => p.name);
export const putPolicy = (tenant: Place, policy: string): Promise<unknown> =>
  ask('PUT', tenant, '/policies', { text: policy }, 'Writing the policy');
export const removePolicy = (tenant: Place, name: string): Promise<null> =>
  remove(tenant, `/policies/${segment(name)}`, 'Taking the policy back');

export interface Asked {
  readonly login: string;
  readonly roles: readonly string[];
}

/** What an account, or somebody with these roles, may do here. @throws RequestFailure */
export async function fetchExplained(tenant: Place, { login, roles }: Asked, options?: RequestOptions): Promise<Explained> {
  const parameters = new URLSearchParams();
  if (login) parameters.set('login', login);
  else for (const role of roles) parameters.append('role', role);
  return readExplained(await read(tenant, `/explain?${parameters}`, 'Asking what they may do', options));
}

// --- tenants ------------------------------------------------------------------------------------------

export interface TenantDetail {
  readonly name: string;
  readonly label: string;
  readonly demo: boolean;
  readonly aet: string;
  /** Where its images lie. */
  readonly region: string;
  readonly settling: string;
  /** `#rrggbb`; '' for that of the house. */
  readonly accent: string;
  /** What its sign-in page says; '' for nothing. */
  readonly notice: string;
  /** What its policies mean by the time of day; '' for the server's. */
  readonly zone: string;
  readonly suspended: boolean;
  /** Further AE titles, and hosts whose addresses are this tenant's. */
  readonly titles: readonly string[];
  readonly hosts: readonly string[];
  /** Why it is suspended. */
  readonly suspension: string;
  /** It goes for good, and is not served again. */
  readonly erasing: boolean;
  /** How much it may keep; null: no limit. */
  readonly quotaBytes: number | null;
  readonly quotaStudies: number | null;
  /** How much it keeps. */
  readonly usedBytes: number;
  readonly usedStudies: number;
}

const limit = (value: unknown): number | null => (typeof value === 'number' ? value : null);

export function readTenant(value: unknown): TenantDetail {
  const o = object(value);
  return {
    name: text(o['name']),
    label: text(o['label']) || text(o['name']),
    demo: o['demo'] === true,
    aet: text(o['aet']),
    region: text(o['region']),
    settling: text(o['settling']),
    accent: accentOf(text(o['accent'])),
    notice: text(o['notice']),
    zone: text(o['zone']),
    suspended: o['suspended'] === true,
    titles: texts(o['titles']),
    hosts: texts(o['hosts']),
    suspension: text(o['suspension']),
    erasing: o['erasing'] === true,
    quotaBytes: limit(o['quota_bytes']),
    quotaStudies: limit(o['quota_studies']),
    usedBytes: count(o['used_bytes']),
    usedStudies: count(o['used_studies']),
  };
}

export const fetchTenantDetails = async (tenant: Place, options?: RequestOptions): Promise<TenantDetail[]> =>
  list(await read(tenant, '/tenants/details', 'Loading the tenants', options)).map(readTenant).filter((t) => t.name);
/** Where a new tenant's images can lie, and under which law. */
export interface Region {
  readonly name: string;
  readonly jurisdiction: string;
}

export function readRegion(value: unknown): Region {
  const o = object(value);
  return { name: text(o['name']), jurisdiction: text(o['jurisdiction']) };
}

/** The default one first; none for who may not know of all tenants. */
export const fetchRegions = async (tenant: Place, options?: RequestOptions): Promise<Region[]> =>
  list(await read(tenant, '/regions', 'Loading the regions', options)).map(readRegion).filter((r) => r.name);
export const addTenant = async (tenant: Place, body: { name: string; label: string; aet: string; region?: string }): Promise<TenantDetail> =>
  readTenant(await ask('POST', tenant, '/tenants', body, 'Making the tenant'));
/** What is not named stays; '' takes accent, notice and zone away. */
export interface TenantLooks {
  readonly label?: string;
  readonly accent?: string;
  readonly notice?: string;
  readonly zone?: string;
}
export const nameTenant = async (tenant: Place, name: string, called: { titles: readonly string[]; hosts: readonly string[] }): Promise<TenantDetail> =>
  readTenant(await ask('PUT', tenant, `/tenants/${segment(name)}/names`, called, 'Changing the names'));
export const changeTenant = async (tenant: Place, body: TenantLooks & { readonly settling?: string }): Promise<TenantDetail> =>
  readTenant(await ask('PATCH', tenant, '/tenant', body, 'Changing the tenant'));
export const suspendTenant = async (tenant: Place, name: string, reason: string): Promise<TenantDetail> =>
  readTenant(await ask('PUT', tenant, `/tenants/${segment(name)}/suspension`, { reason }, 'Suspending the tenant'));
export const resumeTenant = async (tenant: Place, name: string): Promise<TenantDetail> =>
  readTenant(await change('DELETE', `${consoleRoot(tenant)}/tenants/${segment(name)}/suspension`, null, 'Resuming the tenant', readJson));

/** What would go with a tenant. */
export interface Prospect {
  readonly studies: number;
  readonly objects: number;
  readonly bytes: number;
  /** Why it may not go now; null: nothing forbids it. */
  readonly obstacle: string | null;
}

export async function fetchProspect(tenant: Place, name: string, options?: RequestOptions): Promise<Prospect> {
  const o = object(await read(tenant, `/tenants/${segment(name)}/erasure`, 'Counting what would go', options));
  return { studies: count(o['studies']), objects: count(o['objects']), bytes: count(o['bytes']), obstacle: optional(o['obstacle']) };
}
export const eraseTenant = (tenant: Place, name: string, typed: string, reason: string): Promise<unknown> =>
  ask('POST', tenant, `/tenants/${segment(name)}/erasure`, { name: typed, reason }, 'Erasing the tenant');
export const limitTenant = async (tenant: Place, name: string, most: { bytes: number | null; studies: number | null }): Promise<TenantDetail> =>
  readTenant(await ask('PUT', tenant, `/tenants/${segment(name)}/quota`, most, 'Changing the quota'));
export const fetchConsent = async (tenant: Place, options?: RequestOptions): Promise<number | null> =>
  instant(object(await read(tenant, '/tenant/consent', 'Looking whether support is let in', options))['until']);
/** Let support in for some hours; 0 ends it. Until when it is in. */
export const giveConsent = async (tenant: Place, hours: number): Promise<number | null> =>
  instant(object(await ask('PUT', tenant, '/tenant/consent', { hours }, 'Changing the consent'))['until']);

// --- peers --------------------------------------------------------------------------------------------

export interface Peer {
  readonly aet: string;
  readonly host: string;
  readonly port: number;
  readonly type: string;
  /** What was said it may do; empty: what its type may. */
  readonly allow: readonly string[];
  readonly may: readonly string[];
  readonly site: string | null;
  readonly issuer: string | null;
  readonly charset: string | null;
  readonly zone: string | null;
  readonly syntaxes: readonly string[];
  readonly certificate: string | null;
  readonly revoked: boolean;
  /** Whether each association must say who it speaks for. */
  readonly identity: boolean;
  /** It sees what was received within so many days; 0: all; null: a year, with a certificate all. */
  readonly days: number | null;
  /** Whether it has an address that can be called. */
  readonly callable: boolean;
}

export interface PeerPage {
  /** The title by which they call this tenant. */
  readonly aet: string;
  readonly items: readonly Peer[];
  /** What each type of machine may by itself. */
  readonly types: ReadonlyMap<string, readonly string[]>;
}

export function readPeer(value: unknown): Peer {
  const o = object(value);
  return {
    aet: text(o['aet']),
    host: text(o['host']),
    port: count(o['port']),
    type: text(o['type']),
    allow: texts(o['allow']),
    may: texts(o['may']),
    site: optional(o['site']),
    issuer: optional(o['issuer']),
    charset: optional(o['charset']),
    zone: optional(o['zone']),
    syntaxes: texts(o['syntaxes']),
    certificate: optional(o['certificate']),
    identity: o['identity'] === true,
    days: typeof o['days'] === 'number' ? o['days'] : null,
    revoked: o['revoked'] === true,
    callable: o['callable'] === true,
  };
}

export interface PeerBody extends Pick<Peer, 'aet' | 'host' | 'port' | 'type' | 'allow' | 'site' | 'issuer' | 'charset' | 'zone' | 'syntaxes' | 'certificate' | 'revoked' | 'identity' | 'days'> {
  /** It is there already and is changed. */
  readonly replace: boolean;
}

export async function fetchPeers(tenant: Place, options?: RequestOptions): Promise<PeerPage> {
  const o = object(await read(tenant, '/peers', 'Loading the peers', options));
  return {
    aet: text(o['aet']),
    items: list(o['items']).map(readPeer).filter((p) => p.aet),
    types: new Map(Object.entries(object(o['types'])).map(([type, grants]) => [type, texts(grants)])),
  };
}
export const putPeer = (tenant: Place, peer: PeerBody): Promise<unknown> => ask('PUT', tenant, '/peers', peer, 'Saving the peer');
export const removePeer = (tenant: Place, aet: string): Promise<null> =>
  change('POST', `${consoleRoot(tenant)}/peers/remove`, { aet }, 'Removing the peer', readNothing);

/** What a machine has done since the server started. */
export interface Machine {
  readonly calling: string;
  readonly heard: number | null;
  readonly associations: number;
  readonly stored: number;
  readonly storeFailures: number;
  readonly bytes: number;
  readonly queries: number;
  readonly retrievals: number;
  readonly sent: number;
  readonly sendFailures: number;
  readonly denied: number;
}

export interface RefusedCall {
  readonly called: string;
  readonly calling: string;
  readonly address: string;
  readonly why: string;
  readonly times: number;
  readonly at: number | null;
}

export interface DoorSeen {
  /** By calling AE title. */
  readonly machines: ReadonlyMap<string, Machine>;
  readonly refused: readonly RefusedCall[];
}

export function readDoor(value: unknown): DoorSeen {
  const o = object(value);
  const machines = list(o['machines']).map((each): Machine => {
    const m = object(each);
    return {
      calling: text(m['calling']),
      heard: instant(m['heard']),
      associations: count(m['associations']),
      stored: count(m['stored']),
      storeFailures: count(m['store_failures']),
      bytes: count(m['bytes_received']),
      queries: count(m['queries']),
      retrievals: count(m['retrievals']),
      sent: count(m['suboperations']) - count(m['suboperation_failures']),
      sendFailures: count(m['suboperation_failures']),
      denied: count(m['denied']),
    };
  });
  return {
    machines: new Map(machines.map((machine) => [machine.calling, machine])),
    refused: list(o['refused']).map((each) => {
      const r = object(each);
      return {
        called: text(r['called']),
        calling: text(r['calling']),
        address: text(r['address']),
        why: text(r['why']),
        times: count(r['times']),
        at: instant(r['at']),
      };
    }),
  };
}

export const fetchDoor = async (tenant: Place, options?: RequestOptions): Promise<DoorSeen> =>
  readDoor(await read(tenant, '/peers/door', 'Reading what the DICOM door has seen', options));

export interface Probe {
  readonly well: boolean;
  readonly said: string;
}

const PROBE_DEADLINE = 25_000;

/** Call a peer: C-ECHO, or C-STORE of a trial image. @throws RequestFailure when the server could not try. */
export async function probePeer(tenant: Place, aet: string, how: 'echo' | 'trial-image'): Promise<Probe> {
  const what = how === 'echo' ? 'Calling the peer' : 'Sending the test image';
  const url = `${consoleRoot(tenant)}/peers/${how}`;
  const o = object(await change('POST', url, { aet }, what, readJson, { deadline: PROBE_DEADLINE }));
  return { well: o['well'] === true, said: text(o['said']) };
}
