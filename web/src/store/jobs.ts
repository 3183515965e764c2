/** Background work: the newest jobs of a tenant, kept up to date while somebody looks. */
import { isAbort, RequestFailure } from '../client/http';
import {
  askOfJob,
  fetchJobCounts,
  fetchJobs,
  type Job,
  type JobCounts,
  type JobPage,
  type JobState,
  type JobWish,
  type Subject,
} from '../client/jobs';
import { pauseBefore } from './polling';
import { Signal } from './signal';

export interface JobsState {
  readonly filter: JobState | null;
  readonly items: readonly Job[];
  readonly next: string | null;
  /** By series UID. */
  readonly subjects: ReadonlyMap<string, Subject>;
  readonly counts: JobCounts | null;
  readonly loading: 'first' | 'more' | null;
  readonly failure: RequestFailure | null;
  /** When the list was last read, by this machine's clock; null: never. */
  readonly readAt: number | null;
  /** The server's clock minus this machine's, in milliseconds. */
  readonly skew: number;
  /** Id of the job the keyboard is on. */
  readonly cursor: string | null;
  /** Id of the job whose cancellation waits for a second word. */
  readonly confirming: string | null;
  /** Wishes on their way to the server, by id. */
  readonly asking: ReadonlyMap<string, JobWish>;
  /** What the server answered to a wish that it refused, by id. */
  readonly refusals: ReadonlyMap<string, RequestFailure>;
}

const PAGE = 50;
const MOST = 200;
/** A wish comes to pass within half a second or so: look soon. */
const SOON = 700;

export const canRetry = (job: Job): boolean => !job.asked && (job.state === 'failed' || job.state === 'cancelled');
export const canCancel = (job: Job): boolean => !job.asked && (job.state === 'waiting' || job.state === 'running');

/** Whether anything may change any moment. */
export const unfinished = ({ items, counts }: Pick<JobsState, 'items' | 'counts'>): boolean =>
  (counts?.running ?? 0) + (counts?.waiting ?? 0) > 0 ||
  items.some((job) => job.asked !== null || job.state === 'running' || job.state === 'waiting');

/** The newest jobs as just read, and those beyond them as they were read before. */
export function merged(before: readonly Job[], page: Pick<JobPage, 'items' | 'next'>): readonly Job[] {
  const last = page.items.at(-1);
  if (!last || page.next === null) return page.items;
  const known = new Set(page.items.map((job) => job.id));
  const older = before.filter((job) => !known.has(job.id) && (job.created ?? 0) <= (last.created ?? 0));
  return [...page.items, ...older];
}

const asFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure
    ? error
    : new RequestFailure('The background work could not be read.', 'Reload the page.');

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}

export class JobsStore {
  readonly state = new Signal<JobsState>({
    filter: null,
    items: [],
    next: null,
    subjects: new Map(),
    counts: null,
    loading: null,
    failure: null,
    readAt: null,
    skew: 0,
    cursor: null,
    confirming: null,
    asking: new Map(),
    refusals: new Map(),
  });
  private request: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private failures = 0;
  private watching = false;
  /** Series that were looked up, found or not. */
  private readonly lookedUp = new Set<string>();

  constructor(private readonly tenant: string | null) {}

  /** Keep the list up to date until the returned function is called. */
  watch(): () => void {
    this.watching = true;
    const onSight = (): void => (document.hidden ? this.rest() : void this.reload());
    const onLine = (): void => void this.reload();
    document.addEventListener('visibilitychange', onSight);
    addEventListener('online', onLine);
    onSight();
    return () => {
      this.watching = false;
      this.rest();
      document.removeEventListener('visibilitychange', onSight);
      removeEventListener('online', onLine);
    };
  }

  show(filter: JobState | null): void {
    if (filter === this.state.value.filter) return;
    this.state.patch({ filter, next: null, confirming: null, loading: 'first' });
    void this.load(null, true);
  }

  reload(): Promise<void> {
    return this.load(null);
  }

  async more(): Promise<void> {
    const { next, loading, failure } = this.state.value;
    if (next && !loading && !failure) await this.load(next);
  }

  /** Put the keyboard on a job; what waited for a second word no longer does. */
  point(job: string | null): void {
    if (job !== this.state.value.cursor) this.state.patch({ cursor: job, confirming: null });
  }

  retry(job: Job): void {
    if (canRetry(job)) void this.ask(job, 'retry');
  }

  /** The first word asks for a second one, which cancels. */
  cancel(job: Job): void {
    if (!canCancel(job)) return;
    if (this.state.value.confirming === job.id) void this.ask(job, 'cancel');
    else this.state.patch({ cursor: job.id, confirming: job.id });
  }

  keep(): void {
    this.state.patch({ confirming: null });
  }

  private async ask(job: Job, wish: JobWish): Promise<void> {
    const { asking, refusals } = this.state.value;
    if (asking.has(job.id)) return;
    this.state.patch({
      confirming: null,
      asking: new Map(asking).set(job.id, wish),
      refusals: without(refusals, job.id),
    });
    try {
      const answer = await askOfJob(this.tenant, job.id, wish);
      const items = this.state.value.items.map((each) => (answer && each.id === job.id ? answer : each));
      this.state.patch({ items, asking: without(this.state.value.asking, job.id) });
      this.schedule(SOON);
    } catch (error) {
      this.state.patch({
        asking: without(this.state.value.asking, job.id),
        refusals: new Map(this.state.value.refusals).set(job.id, asFailure(error)),
      });
    }
  }

  /** Stop what is under way; the rows stay for the way back. */
  private rest(): void {
    this.request?.abort();
    this.request = null;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.state.patch({ loading: null });
  }

  private schedule(pause: number | null): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = pause === null || !this.watching ? null : setTimeout(() => void this.reload(), pause);
  }

  /** @param afresh whether the rows on screen answer another question and must not stay. */
  private async load(before: string | null, afresh = false): Promise<void> {
    this.request?.abort();
    if (this.timer) clearTimeout(this.timer);
    const request = new AbortController();
    this.request = request;
    const { filter, items, readAt } = this.state.value;
    if (before) this.state.patch({ loading: 'more' });
    else if (readAt === null || afresh) this.state.patch({ loading: 'first' });
    const limit = before || afresh ? PAGE : Math.min(MOST, Math.max(PAGE, items.length));
    const describe = before !== null || afresh || readAt === null || this.strangers(items).length > 0;
    let pause: number | null = null;
    try {
      const page = await fetchJobs(this.tenant, { state: filter, limit, before, describe }, { signal: request.signal });
      if (request.signal.aborted) return;
      this.failures = 0;
      this.take(page, before, afresh, describe);
      const known = this.strangers(this.state.value.items).length === 0;
      pause = known ? this.pause() : 0;
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      this.failures += 1;
      this.state.patch({ loading: null, failure: asFailure(error), ...(afresh && { items: [] }) });
      pause = this.pause();
    }
    this.schedule(pause);
  }

  private take(page: JobPage, before: string | null, afresh: boolean, describe: boolean): void {
    const { items: old, subjects, next } = this.state.value;
    const items = before
      ? [...old, ...page.items.filter((job) => !old.some((each) => each.id === job.id))]
      : afresh
        ? page.items
        : merged(old, page);
    if (describe) for (const job of page.items) this.lookedUp.add(job.series);
    const kept = !before && items.length > page.items.length;
    this.state.patch({
      items,
      next: kept ? next : page.next,
      subjects: page.subjects.size > 0 ? new Map([...subjects, ...page.subjects]) : subjects,
      counts: page.counts,
      loading: null,
      failure: null,
      readAt: Date.now(),
      skew: page.now - Date.now(),
    });
  }

  private strangers(items: readonly Job[]): readonly Job[] {
    return items.slice(0, MOST).filter((job) => job.series && !this.lookedUp.has(job.series));
  }

  private pause(): number | null {
    const outlook = { visible: !document.hidden, unfinished: unfinished(this.state.value), failures: this.failures };
    return pauseBefore(outlook);
  }
}

const stores = new Map<string | null, JobsStore>();

/** The jobs of a tenant, the same store each time. */
export function jobsOf(tenant: string | null): JobsStore {
  const store = stores.get(tenant) ?? new JobsStore(tenant);
  stores.set(tenant, store);
  return store;
}

/** Tell how many jobs have failed, now and then while the page is seen, until the returned function is called. */
export function watchFailures(tenant: string | null, tell: (failed: number) => void): () => void {
  const life = new AbortController();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let failures = 0;
  const look = async (): Promise<void> => {
    if (timer) clearTimeout(timer);
    if (document.hidden || life.signal.aborted) return;
    try {
      tell((await fetchJobCounts(tenant, { signal: life.signal })).failed);
      failures = 0;
    } catch {
      failures += 1; // the list of the page itself says that the server is away
    }
    const pause = pauseBefore({ visible: !document.hidden, unfinished: false, failures });
    if (pause !== null && !life.signal.aborted) timer = setTimeout(() => void look(), pause);
  };
  const onSight = (): void => void look();
  document.addEventListener('visibilitychange', onSight);
  void look();
  return () => {
    life.abort();
    if (timer) clearTimeout(timer);
    document.removeEventListener('visibilitychange', onSight);
  };
}
