/** What went wrong on the way through an identity provider, and that a session is over, in words. Pure. */
import { SIGNED_OUT, SIGNED_OUT_HERE, SIGNED_OUT_THERE } from '../client/place';
import type { Failure } from './form';

const ASK = 'Ask whoever runs this archive.';
const OTHERWISE = 'Try again later, or use an account of this archive.';

/** The server's words for it (people/errors.py, Why); it never passes on what a provider says. */
const PROBLEMS: Readonly<Record<string, Failure>> = {
  again: {
    what: 'That sign-in was begun in another window, or too long ago.',
    advice: 'Begin again; the browser has to accept cookies.',
  },
  away: { what: 'The identity provider does not answer as it should', advice: OTHERWISE },
  cancelled: { what: 'The sign-in was cancelled at the identity provider.', advice: 'Begin again when you like.' },
  declined: { what: 'The identity provider ended the sign-in with an error.', advice: OTHERWISE },
  'no-address': {
    what: 'This server does not know its own address.',
    advice: 'Whoever runs it sets LIGHTWELL_PUBLIC_URL.',
  },
  'no-login': { what: 'The identity provider gave no name that can be a login here.', advice: ASK },
  'no-provider': { what: 'There is no such identity provider, or it is switched off.', advice: ASK },
  'no-role': {
    what: 'You are known there, but none of your groups has a role in this archive.',
    advice: ASK,
  },
  other: {
    what: 'You signed in there as somebody else than here.',
    advice: 'Sign out here, or sign in there with your own account.',
  },
  shut: { what: 'Your account here is shut.', advice: ASK },
  taken: {
    what: 'An account of this archive has your login already; it is not yours through this provider.',
    advice: ASK,
  },
  'too-many': { what: 'Too many tries to sign in from here.', advice: 'Wait a minute and try again.' },
  unproved: { what: 'The answer of the identity provider did not prove who you are.', advice: ASK },
};

const OVER: Readonly<Record<string, string>> = {
  [SIGNED_OUT]: 'You are signed out.',
  [SIGNED_OUT_THERE]: 'You are signed out.',
  [SIGNED_OUT_HERE]: 'You are signed out here. The identity provider does not answer: you may still be signed in there.',
};

/** What the sign-in page says to whoever did not end it themselves. */
export const ENDED = 'Your session was ended. Sign in again.';

/** What the query of the sign-in page says of a session that is over; '' for nothing. */
export const overText = (search: string): string => (Object.hasOwn(OVER, search) ? (OVER[search] ?? '') : '');

/** What the query of the sign-in page says, if it is a problem that we know. */
export function problemText(search: string): Failure | null {
  const query = new URLSearchParams(search);
  const word = query.get('problem') ?? '';
  const found = Object.hasOwn(PROBLEMS, word) ? PROBLEMS[word] : undefined;
  if (!found) return null;
  if (word !== 'away') return found;
  const at = query.get('at') ?? '';
  return { ...found, what: `${found.what}${/^[a-z]{1,20}$/.test(at) ? ` (${at})` : ''}.` };
}
