/** What one has open in an emergency, as every page knows it. */
import { endOpening, fetchStanding } from '../client/glass';
import { skewOf, type GlassState } from './clock-of-glass';
import { pauseBefore } from './polling';
import { Signal } from './signal';
import { studyList } from './study-list';

export const NOTHING_OPEN: GlassState = { standing: null, skew: 0 };
export const glass = new Signal<GlassState>(NOTHING_OPEN);

/** What was open here and is over. */
export interface Closing {
  /** How often that was: what showed its patient begins anew then. */
  readonly count: number;
  /** Path of the page that one was on. */
  readonly at: string;
  /** Whether every door knows: until then one could still show it. */
  readonly everywhere: boolean;
}

export const closing = new Signal<Closing>({ count: 0, at: '', everywhere: true });

/** Every process of the server knows of a change after that long (two seconds and a little). */
const KNOWN_EVERYWHERE = 2_200;

/** Read it again; what it opened or closed is looked for anew. A page without an answer keeps what it knows: false.
 * @param everywhere every door knows of a change that one had made oneself. */
export async function lookAtGlass(tenant: string | null, signal?: AbortSignal, everywhere = false): Promise<boolean> {
  const before = glass.value.standing?.open?.id;
  const asked = Date.now();
  const standing = await fetchStanding(tenant, signal && { signal }).catch(() => null);
  if (!standing || signal?.aborted) return false;
  glass.set({ standing, skew: skewOf(standing.now, asked, Date.now()) });
  if (before !== standing.open?.id) {
    if (before) close(tenant, everywhere);
    void studyList(tenant).reload();
  }
  return true;
}

/** Away with what showed it, at once; it is looked for anew when every door knows. */
function close(tenant: string | null, everywhere: boolean): void {
  const { count } = closing.value;
  closing.set({ count: count + 1, at: location.pathname, everywhere });
  if (everywhere) return;
  setTimeout(() => {
    closing.patch({ everywhere: true });
    void studyList(tenant).reload();
  }, KNOWN_EVERYWHERE);
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
    const open = glass.value.standing?.open ?? null;
    const pause = pauseBefore({ visible: !document.hidden, unfinished: open !== null, failures });
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
  await lookAtGlass(tenant, undefined, true);
}

/** End what is open; nothing of it stays on the page. @throws RequestFailure */
export async function endMine(tenant: string | null, id: string): Promise<void> {
  await endOpening(tenant, id);
  await knownEverywhere(tenant);
}
