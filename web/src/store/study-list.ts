/** The study list: a query, its pages so far, and what is under way. */
import { fetchStudies, type StudyItem, type StudyQuery } from '../client/console';
import { isAbort, RequestFailure } from '../client/http';
import { Signal } from './signal';

export interface ListState {
  readonly query: StudyQuery;
  readonly items: readonly StudyItem[];
  readonly next: string | null;
  readonly total: number | null;
  readonly loading: 'first' | 'more' | null;
  readonly failure: RequestFailure | null;
  /** Study UID of the row the keyboard is on. */
  readonly cursor: string | null;
}

export const NO_QUERY: StudyQuery = { text: '', modality: '', from: '', to: '', sort: '-StudyDate' };

const FRESH = 30_000;

const BACKWARDS = new RequestFailure('The first date is after the last one.', 'Change one of them.', 400);

const asFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure
    ? error
    : new RequestFailure('The study list could not be read.', 'Reload the page.');

export class StudyListStore {
  readonly state: Signal<ListState>;
  private request: AbortController | null = null;
  private loadedAt = 0;
  /** Where the list was scrolled to, in CSS pixels. */
  scrollTop = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly tenant: string | null) {
    this.state = new Signal<ListState>({
      query: NO_QUERY,
      items: [],
      next: null,
      total: null,
      loading: null,
      failure: null,
      cursor: null,
    });
  }

  /** Change the query; typing waits a moment so that each letter is not a request. */
  search(part: Partial<StudyQuery>, wait = 0): void {
    const query = { ...this.state.value.query, ...part };
    this.state.patch({ query });
    if (this.timer) clearTimeout(this.timer);
    if (query.from && query.to && query.from > query.to) {
      this.request?.abort();
      this.state.patch({ items: [], next: null, total: null, cursor: null, loading: null, failure: BACKWARDS });
      return;
    }
    this.timer = setTimeout(() => void this.load(null), wait);
  }

  /** Load the first page, keeping the rows on screen until the new ones are here. */
  reload(): Promise<void> {
    return this.load(null);
  }

  async more(): Promise<void> {
    const { next, loading, failure } = this.state.value;
    if (next && !loading && !failure) await this.load(next);
  }

  moveCursor(step: number): void {
    const { items, cursor } = this.state.value;
    const at = items.findIndex((item) => item.study === cursor);
    const next = items[Math.min(Math.max(0, at + step), items.length - 1)];
    if (next) this.state.patch({ cursor: next.study });
  }

  /** Read the list again when it is older than half a minute; a fresh one stays as it is. */
  async refresh(): Promise<void> {
    if (this.state.value.items.length === 0 || Date.now() - this.loadedAt > FRESH) await this.load(null);
  }

  /** Stop what is under way; the rows stay for the way back from the viewer. */
  pause(): void {
    this.request?.abort();
    if (this.timer) clearTimeout(this.timer);
    this.state.patch({ loading: null });
  }

  private async load(cursor: string | null): Promise<void> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.state.patch({ loading: cursor ? 'more' : 'first', failure: null });
    try {
      const page = await fetchStudies(this.tenant, this.state.value.query, cursor, { signal: request.signal });
      if (request.signal.aborted) return;
      const before = cursor ? this.state.value.items : [];
      const known = new Set(before.map((item) => item.study));
      const items = [...before, ...page.items.filter((item) => !known.has(item.study))];
      const total = page.total ?? (cursor ? this.state.value.total : null);
      this.loadedAt = Date.now();
      this.state.patch({ items, next: page.next, total, loading: null });
    } catch (error) {
      if (isAbort(error) || request.signal.aborted) return;
      const failure = asFailure(error);
      // Rows of another question must not stand under this one; those of the same one may, when a server is away.
      const stale = cursor === null && failure.status !== null && failure.status < 500;
      this.state.patch({ loading: null, failure, ...(stale && { items: [], next: null, total: null, cursor: null }) });
    }
  }
}

const stores = new Map<string | null, StudyListStore>();

/** The list of a tenant, the same one each time: search and place survive a look at a study. */
export function studyList(tenant: string | null): StudyListStore {
  const store = stores.get(tenant) ?? new StudyListStore(tenant);
  stores.set(tenant, store);
  return store;
}
