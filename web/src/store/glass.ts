/** What one has open in an emergency, as every page knows it. */
import { endOpening, fetchStanding } from '../client/glass';
import type { GlassState } from './clock-of-glass';
import { Signal } from './signal';
import { studyList } from './study-list';

export const NOTHING_OPEN: GlassState = { standing: null, skew: 0 };
export const glass = new Signal<GlassState>(NOTHING_OPEN);
/** How often something was closed here: what showed its patient begins anew then. */
export const closings = new Signal(0);

/** Somebody else may end it: looked after as often as a countdown is looked at. */
const LOOK = 20_000;
/** Every process of the server knows of a change after that long (two seconds and a little). */
const KNOWN_EVERYWHERE = 2_200;

/** Read it again; what it opened or closed is looked for anew. A page without an answer keeps what it knows. */
export async function lookAtGlass(tenant: string | null): Promise<void> {
  const before = glass.value.standing?.open?.id;
  const standing = await fetchStanding(tenant).catch(() => null);
  if (!standing) return;
  glass.set({ standing, skew: standing.now - Date.now() });
  changed(tenant, before, standing.open?.id);
}

function changed(tenant: string | null, before: string | undefined, after: string | undefined): void {
  if (before === after) return;
  if (before) closings.set(closings.value + 1);
  void studyList(tenant).reload();
}

/** Keep it up to date until the returned function is called. */
export function watchGlass(tenant: string | null): () => void {
  const look = (): void => {
    if (!document.hidden) void lookAtGlass(tenant);
  };
  const timer = setInterval(look, LOOK);
  document.addEventListener('visibilitychange', look);
  look();
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', look);
    glass.set(NOTHING_OPEN);
  };
}

/** Wait until every door knows, then look. */
export async function knownEverywhere(tenant: string | null): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, KNOWN_EVERYWHERE));
  await lookAtGlass(tenant);
}

/** End what is open; nothing of it stays on the page. @throws RequestFailure */
export async function endMine(tenant: string | null, id: string): Promise<void> {
  await endOpening(tenant, id);
  await knownEverywhere(tenant);
}
