/** Who is signed in, as the pages know it. `undefined` until it was asked. */
import { onSignedOut } from '../client/http';
import { fetchMe, signOut, type Me } from '../client/people';
import { SIGNED_OUT, SIGNED_OUT_HERE, signInPath } from '../client/place';
import { Signal } from './signal';

export const session = new Signal<Me | null | undefined>(undefined);

/** Whether the session ended without one's own doing: revoked, or left alone for too long. */
export const ended = new Signal(false);
let leaving = false;

// A session that ended meanwhile: whatever was asked for, the sign-in page comes, and says why.
onSignedOut(() => {
  if (session.value && !leaving) ended.set(true);
  session.set(null);
});

/** Ask who one is. @throws RequestFailure when the server cannot be asked. */
export async function look(tenant: string | null): Promise<void> {
  const who = await fetchMe(tenant);
  if (who) ended.set(false);
  session.set(who);
}

/** Whether one may do something here; false until it is known. */
export const may = (who: Me | null | undefined, action: string): boolean => who?.may.has(action) ?? false;

/** End the session here and at the server; nothing of it stays on the page, which says that it is over. Where it came
 * through an identity provider that wants it, that is where the browser goes next. */
export async function leave(tenant: string | null): Promise<void> {
  leaving = true;
  const there = await signOut(tenant).catch((error: unknown) => {
    leaving = false;
    throw error;
  });
  location.assign(there || signInPath(tenant) + (there === null ? SIGNED_OUT : SIGNED_OUT_HERE));
}
