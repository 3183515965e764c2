/** What one has open in an emergency, as every page knows it. */
import { endOpening, fetchStanding } from '../client/glass';
import { skewOf, type GlassState } from './clock-of-glass';
import { pauseBefore } from './polling';
import { Signal } from './signal';
import { studyList } from './study-list';

export const NOTHING_OPEN: GlassState = { standing: null, skew: 0 };
export const glass = new Signal<GlassState>(NOTHING_OPEN);
/** How often something was closed here: what showed its patient begins anew then. */
export const closings = new Signal(0);

/** Every process of the server knows of a change after that long (two seconds and a little). */
const KNOWN_EVERYWHERE = 2_200;

/** Read it again; what it opened or closed is looked for anew. A page without an answer keeps what it knows: false. */
export async function lookAtGlass(tenant: string | null, signal?: AbortSignal): Promise<boolean> {
  const before = glass.value.standing?.open?.id;
  const asked = Date.now();
  const standing = await fetchStanding(tenant, signal && { signal }).catch(() => null);
  if (!standing || signal?.aborted) return false;
  glass.set({ standing, skew: skewOf(standing.now, asked, Date.now()) });
  changed(tenant, before, standing.open?.id);
  return true;
}

function changed(tenant: string | null, before: string | undefined, after: string | undefined): void {
  if (before === after) return;
  if (before) closings.set(closings.value + 1);
  void studyList(tenant).reload();
}

/** Keep it up to date until the returned function is called: somebody else may end it. */
export function watchGlass(tenant: string | null): () => void {
  const life = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  const look = async (): Promise<void> => {
    clearTimeout(timer);
    if (document.hidden) return; // looked after when the page is seen again
    failures = (await lookAtGlass(tenant, life.signal)) ? 0 : failures + 1;
    const pause = pauseBefore({ visible: !document.hidden, unfinished: false, failures });
    if (pause !== null && !life.signal.aborted) timer = setTimeout(() => void look(), pause);
  };
  const onSight = (): void => void look();
  document.addEventListener('visibilitychange', onSight);
  void look();
  return () => {
    life.abort();
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', onSight);
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
