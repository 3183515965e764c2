/** Every request has a deadline, and every failure says what happened and what to do. */

export class RequestFailure extends Error {
  /**
   * @param what  what happened, for the reader of the screen (no patient data).
   * @param advice what they can do about it.
   * @param wantsProof it is allowed as soon as one has proved again who one is.
   */
  constructor(
    readonly what: string,
    readonly advice: string,
    readonly status: number | null = null,
    readonly wantsProof = false,
  ) {
    super(`${what} ${advice}`);
    this.name = 'RequestFailure';
  }
}

export interface RequestOptions {
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds until the request is given up. */
  readonly deadline?: number;
  /** Bytes wanted, as in a Range header: "bytes=100-199". */
  readonly range?: string;
  readonly priority?: 'high' | 'low';
}

const DEFAULT_DEADLINE = 20_000;

const ADVICE: Record<number, string> = {
  401: 'Sign in again.',
  403: 'Ask an administrator if you should have access.',
  404: 'It may have been moved or withdrawn; go back to the study list.',
  406: 'The server cannot send it in a form this viewer reads.',
  410: 'It is held back or withdrawn; ask the archive team.',
  429: 'Too many requests; wait a moment and try again.',
  503: 'The server is busy or starting; try again in a moment.',
  507: 'The archive is out of space; tell its administrator.',
};

/** The problem type of what waits for a proof (RFC 9457 3.1.1). */
const PROVE_AGAIN = 'urn:lightwell:prove-again';

interface Problem {
  readonly said: string;
  readonly remedy: string;
  readonly wantsProof: boolean;
}

const short = (value: unknown): string =>
  typeof value === 'string' && value.length <= 240 ? value : '';

/** What an RFC 9457 problem says, and our server's own "remedy"; long texts are left out. */
async function problem(response: Response): Promise<Problem> {
  const isJson = (response.headers.get('content-type') ?? '').includes('json');
  const body: unknown = isJson ? await response.json().catch(() => null) : null;
  if (typeof body !== 'object' || body === null) return { said: '', remedy: '', wantsProof: false };
  const { type, title, detail, remedy } = body as Record<string, unknown>;
  return { said: short(detail) || short(title), remedy: short(remedy), wantsProof: type === PROVE_AGAIN };
}

const signedOut = new Set<() => void>();

/** Hear of it when the server no longer knows who we are. */
export const onSignedOut = (listener: () => void): void => void signedOut.add(listener);

/** Has the person prove again who they are; false: they would rather not. */
type Prover = () => Promise<boolean>;
let prover: Prover | null = null;

/** Who asks for a proof when the server wants one; what it was wanted for is then asked for once more. */
export const onProofWanted = (ask: Prover): void => void (prover = ask);

let renewals = 0;
let renewing: Promise<unknown> = Promise.resolve();

/** A request whose answer brings another cookie: what went out with the old one meanwhile is asked once more. */
export async function renewal<T>(work: Promise<T>): Promise<T> {
  renewing = work.catch(() => undefined);
  const done = await work;
  renewals += 1;
  return done;
}

async function refusal(response: Response, what: string): Promise<RequestFailure> {
  const { said, remedy, wantsProof } = await problem(response);
  const reason = said ? `: ${said.replace(/\.?$/, '.')}` : ` (${response.status}).`;
  const advice = remedy || ADVICE[response.status] || 'Try again; if it stays, tell the administrator.';
  return new RequestFailure(`${what} failed${reason}`, advice, response.status, wantsProof);
}

/** An abort that the caller asked for is not a failure: it is passed on as it is. */
export const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === 'AbortError';

function networkFailure(error: unknown, what: string): unknown {
  if (isAbort(error) || error instanceof RequestFailure) return error;
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new RequestFailure(`${what} took too long.`, 'Check the connection and try again.');
  }
  return new RequestFailure(`${what} could not reach the server.`, 'Check the connection and try again.');
}

/**
 * GET a same-origin resource and read its body within the deadline.
 *
 * @param what the request in words, for messages: "Loading the study list".
 * @throws RequestFailure, or the AbortError of `options.signal`.
 */
export function get<T>(
  url: string,
  what: string,
  read: (response: Response) => Promise<T>,
  options: RequestOptions = {},
): Promise<T> {
  return request(url, {}, what, read, options);
}

/** POST JSON to this origin: how a change is asked for. @throws RequestFailure, as `get` does. */
export function post<T>(
  url: string,
  body: unknown,
  what: string,
  read: (response: Response) => Promise<T>,
  options: RequestOptions = {},
): Promise<T> {
  return change('POST', url, body, what, read, options);
}

export type Change = 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Change something on this origin, as `post` does by its method. @throws RequestFailure */
export function change<T>(
  method: Change,
  url: string,
  body: unknown,
  what: string,
  read: (response: Response) => Promise<T>,
  options: RequestOptions = {},
): Promise<T> {
  // The type says that it was meant (no form can), also where there is no body.
  const sent = { method, body: method === 'DELETE' ? undefined : JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  return request(url, sent, what, read, options);
}

interface Sent {
  readonly method?: string;
  readonly body?: string | undefined;
  readonly headers?: Record<string, string>;
}

// Not at the sign-in addresses: there it says that something typed was wrong.
const isSignedOut = (error: unknown, url: string): boolean =>
  error instanceof RequestFailure && error.status === 401 && !url.includes('/api/v1/sign-in');

/** Whether what failed may well succeed now: under a new cookie, or after a proof. */
async function isWorthAnother(error: unknown, url: string, before: number): Promise<boolean> {
  if (isSignedOut(error, url)) {
    if (url.includes('/api/v1/prove')) return false; // it would wait for itself
    await renewing;
    return renewals !== before;
  }
  return error instanceof RequestFailure && error.wantsProof && prover !== null && (await prover());
}

async function request<T>(
  url: string,
  sent: Sent,
  what: string,
  read: (response: Response) => Promise<T>,
  options: RequestOptions,
): Promise<T> {
  const before = renewals;
  try {
    try {
      return await attempt(url, sent, what, read, options);
    } catch (error) {
      if (!(await isWorthAnother(error, url, before))) throw error;
    }
    return await attempt(url, sent, what, read, options);
  } catch (error) {
    if (isSignedOut(error, url)) for (const tell of signedOut) tell();
    throw error;
  }
}

async function attempt<T>(
  url: string,
  sent: Sent,
  what: string,
  read: (response: Response) => Promise<T>,
  options: RequestOptions,
): Promise<T> {
  const late = AbortSignal.timeout(options.deadline ?? DEFAULT_DEADLINE);
  const signal = options.signal ? AbortSignal.any([options.signal, late]) : late;
  try {
    const headers: Record<string, string> = { Accept: options.accept ?? 'application/json', ...sent.headers };
    if (options.range) headers['Range'] = options.range;
    const { priority } = options;
    const response = await fetch(url, {
      ...sent,
      headers,
      signal,
      credentials: 'same-origin',
      ...(priority && { priority }),
    });
    if (!response.ok) throw await refusal(response, what);
    return await read(response);
  } catch (error) {
    throw networkFailure(error, what);
  }
}

/** Of an answer without a body. */
export const readNothing = async (): Promise<null> => null;

export const readJson = (response: Response): Promise<unknown> => response.json() as Promise<unknown>;
