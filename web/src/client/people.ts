/** Signing in and out, and who one is. Secrets are sent once and kept nowhere. */
import { accentOf } from '../ui/accent';
import { list, object, text, type Json } from './checked';
import { get, post, readJson, renewal, RequestFailure, type RequestOptions } from './http';
import { consoleRoot } from './place';

export interface Me {
  /** 'person' or 'program'. */
  readonly kind: string;
  readonly name: string;
  readonly roles: readonly string[];
  /** Name of the tenant one is at, and what people call it. */
  readonly tenant: string;
  readonly label: string;
  /** The colour by which its people know it, `#rrggbb`; '' for none. */
  readonly accent: string;
  /** The tenant one belongs to. */
  readonly home: string;
  /** The actions that policy allows one here. */
  readonly may: ReadonlySet<string>;
}

export interface SignedIn {
  readonly name: string;
  readonly recoveryCodes: readonly string[];
}

/** Somebody else who may say who one is. */
export interface Provider {
  readonly name: string;
  readonly label: string;
}

export interface Enrolment {
  readonly ticket: string;
  /** The first administrator chooses login and name, too. */
  readonly first: boolean;
  readonly login: string;
  /** The secret of the authenticator as text, in groups of four. */
  readonly secret: string;
  /** Its QR code as an address of a picture. */
  readonly picture: string;
  readonly passkey: Json | null;
}

const root = (tenant: string | null): string => `${consoleRoot(tenant)}/sign-in`;

/** Who is signed in; null for nobody. @throws RequestFailure */
export async function fetchMe(tenant: string | null, options?: RequestOptions): Promise<Me | null> {
  try {
    const o = object(await get(`${consoleRoot(tenant)}/me`, 'Looking who is signed in', readJson, options));
    return {
      kind: text(o['kind']),
      name: text(o['name']),
      roles: list(o['roles']).map(text),
      tenant: text(o['tenant']),
      label: text(o['label']),
      accent: accentOf(text(o['accent'])),
      home: text(o['home']),
      may: new Set(list(o['may']).map(text)),
    };
  } catch (error) {
    if (error instanceof RequestFailure && error.status === 401) return null;
    throw error;
  }
}

/** How a tenant looks to whoever is about to sign in. */
export interface Branding {
  readonly label: string;
  /** `#rrggbb`; '' for that of the house. */
  readonly accent: string;
  readonly notice: string;
}

/** How the sign-in page of an address looks. @throws RequestFailure */
export async function fetchBranding(tenant: string | null, options?: RequestOptions): Promise<Branding> {
  const o = object(await get(`${root(tenant)}/page`, 'Loading the sign-in page', readJson, options));
  return { label: text(o['label']), accent: accentOf(text(o['accent'])), notice: text(o['notice']) };
}

/** Whom one can sign in through. @throws RequestFailure */
export async function fetchProviders(tenant: string | null, options?: RequestOptions): Promise<readonly Provider[]> {
  const there = await get(`${root(tenant)}/providers`, 'Looking for ways to sign in', readJson, options);
  return list(there).map((each) => ({ name: text(object(each)['name']), label: text(object(each)['label']) }));
}

/** The address that leads to a provider and, afterwards, back to a path of this app. */
export const providerPath = (tenant: string | null, provider: Provider, to: string): string =>
  `${root(tenant)}/provider/${encodeURIComponent(provider.name)}?to=${encodeURIComponent(to)}`;

const signedIn = (value: unknown): SignedIn => {
  const o = object(value);
  return { name: text(o['name']), recoveryCodes: list(o['recovery_codes']).map(text) };
};

const WHAT = 'Signing in';

export const signInByPassword = async (
  tenant: string | null,
  login: string,
  password: string,
  code: string,
): Promise<SignedIn> => signedIn(await post(`${root(tenant)}/password`, { login, password, code }, WHAT, readJson));

export const signInByLink = async (tenant: string | null, token: string): Promise<SignedIn> =>
  signedIn(await post(`${root(tenant)}/link`, { token }, WHAT, readJson));

export async function signInByPasskey(tenant: string | null): Promise<SignedIn> {
  const asked = object(await post(`${root(tenant)}/passkey-options`, {}, WHAT, readJson));
  const answer = await askPasskey(object(asked['options']));
  return signedIn(await post(`${root(tenant)}/passkey`, { ticket: text(asked['ticket']), answer }, WHAT, readJson));
}

export async function fetchEnrolment(tenant: string | null, token: string, login: string): Promise<Enrolment> {
  const o = object(await post(`${root(tenant)}/enrolment`, { token, login }, login ? 'Choosing the login' : 'Opening the link', readJson));
  const secret = new URLSearchParams(text(o['totp_uri']).split('?')[1] ?? '').get('secret') ?? '';
  return {
    ticket: text(o['ticket']),
    first: o['first'] === true,
    login: text(o['login']),
    secret: secret.match(/.{1,4}/g)?.join(' ') ?? '',
    picture: `data:image/svg+xml,${encodeURIComponent(text(o['totp_qr']))}`,
    passkey: o['passkey'] === null ? null : object(o['passkey']),
  };
}

export interface Chosen {
  readonly login: string;
  readonly name: string;
  readonly password?: string;
  readonly code?: string;
}

/** Finish with a password and a code, or, when the offer's options are given, with a new passkey. */
export async function enrol(
  tenant: string | null,
  token: string,
  offer: Enrolment,
  chosen: Chosen,
  withPasskey: boolean,
): Promise<SignedIn> {
  const passkey = withPasskey && offer.passkey ? await makePasskey(offer.passkey) : null;
  const body = { token, ticket: offer.ticket, ...chosen, ...(passkey && { passkey }) };
  return signedIn(await post(`${root(tenant)}/enrol`, body, 'Setting up the account', readJson));
}

// --- proving again who one is ------------------------------------------------------------------------

/** With what it can be proved; none of it after a sign-in by a link. */
export interface Ways {
  readonly password: boolean;
  readonly code: boolean;
  readonly passkey: boolean;
  /** Where one signs in once more, whose account comes through one. */
  readonly provider: Provider | null;
}

const proof = (tenant: string | null): string => `${consoleRoot(tenant)}/prove`;
const PROVING = 'Proving who you are';

export async function fetchWays(tenant: string | null): Promise<Ways> {
  const o = object(await get(proof(tenant), 'Looking how to prove who you are', readJson));
  const there = o['provider'] ? object(o['provider']) : null;
  return {
    password: o['password'] === true,
    code: o['code'] === true,
    passkey: o['passkey'] === true,
    provider: there && { name: text(there['name']), label: text(there['label']) },
  };
}

/** The address to go to, where one signs in once more; back from there, what was asked for is asked again. */
export async function proveAtProvider(tenant: string | null, name: string, to: string): Promise<string> {
  const departure = object(await post(`${proof(tenant)}/provider`, { name, to }, PROVING, readJson));
  return text(departure['address']);
}

export const proveByPassword = async (tenant: string | null, password: string, code: string): Promise<void> =>
  void (await renewal(post(`${proof(tenant)}/password`, { password, code }, PROVING, readJson)));

export async function proveByPasskey(tenant: string | null): Promise<void> {
  const asked = object(await post(`${proof(tenant)}/passkey-options`, {}, PROVING, readJson));
  const answer = await askPasskey(object(asked['options']));
  await renewal(post(`${proof(tenant)}/passkey`, { ticket: text(asked['ticket']), answer }, PROVING, readJson));
}

/** Where else a browser is to sign out: at an address, nowhere (null), or somewhere that does not answer (''). */
export type WayOut = string | null;

export const wayOut = (value: unknown): WayOut => {
  const address = text(object(value)['address']);
  return /^https?:\/\//.test(address) ? address : '';
};

/** End the session here. The answer says whether the identity provider one came through has one to be ended, too. */
export const signOut = (tenant: string | null): Promise<WayOut> =>
  post(`${consoleRoot(tenant)}/sign-out`, {}, 'Signing out', async (response) =>
    response.status === 204 ? null : wayOut(await readJson(response)),
  );

// --- passkeys: base64url in JSON, buffers in the browser (WebAuthn Level 3, 5.1.8 to 5.1.10) -----------

/** Whether a host is an address of this machine itself. */
export const isLoopback = (host: string): boolean => /^127(\.\d+){3}$/.test(host) || host === '[::1]';

/** Passkeys need a name in the address, never a number, and a browser that knows them. */
export const passkeysPossible = (): boolean =>
  typeof PublicKeyCredential !== 'undefined' && !/^[\d.]+$|:/.test(location.hostname);

const bytes = (value: unknown): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text(value).replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const base64url = (buffer: ArrayBuffer | null): string =>
  btoa(String.fromCharCode(...new Uint8Array(buffer ?? new ArrayBuffer(0))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

const descriptors = (value: unknown): PublicKeyCredentialDescriptor[] =>
  list(value).map((each) => ({ type: 'public-key', id: bytes(object(each)['id']) }));

async function fromDevice(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await ask();
    if (credential instanceof PublicKeyCredential) return credential;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'InvalidStateError') {
      throw new RequestFailure('This device has a passkey for this account already.', 'Sign in with it.');
    }
  }
  throw new RequestFailure('The device gave no passkey.', 'Try again, or use password and code.');
}

async function makePasskey(options: Json): Promise<Json> {
  const user = object(options['user']);
  const publicKey = {
    ...options,
    challenge: bytes(options['challenge']),
    user: { ...user, id: bytes(user['id']) },
    excludeCredentials: descriptors(options['excludeCredentials']),
  } as unknown as PublicKeyCredentialCreationOptions;
  const made = await fromDevice(() => navigator.credentials.create({ publicKey }));
  const response = made.response as AuthenticatorAttestationResponse;
  return answerOf(made, { attestationObject: base64url(response.attestationObject) });
}

async function askPasskey(options: Json): Promise<Json> {
  const publicKey = {
    ...options,
    challenge: bytes(options['challenge']),
    allowCredentials: descriptors(options['allowCredentials']),
  } as unknown as PublicKeyCredentialRequestOptions;
  const given = await fromDevice(() => navigator.credentials.get({ publicKey }));
  const response = given.response as AuthenticatorAssertionResponse;
  return answerOf(given, {
    authenticatorData: base64url(response.authenticatorData),
    signature: base64url(response.signature),
    userHandle: base64url(response.userHandle),
  });
}

const answerOf = (credential: PublicKeyCredential, response: Json): Json => ({
  id: credential.id,
  rawId: base64url(credential.rawId),
  type: credential.type,
  clientExtensionResults: {},
  response: { clientDataJSON: base64url(credential.response.clientDataJSON), ...response },
});
