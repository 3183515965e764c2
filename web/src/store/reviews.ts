/** What was opened in emergencies, for those who judge it. */
import {
  endOpening,
  fetchOpenings,
  reviewOpening,
  type Opening,
  type QueueCounts,
  type Verdict,
  type Which,
} from '../client/glass';
import { isAbort, RequestFailure } from '../client/http';
import { lookAtGlass } from './glass';
import { Signal } from './signal';

export interface ReviewsState {
  readonly which: Which;
  readonly items: readonly Opening[];
  readonly next: string | null;
  readonly counts: QueueCounts | null;
  readonly loading: 'first' | 'more' | null;
  readonly failure: RequestFailure | null;
  /** The server's clock when it was read; null: never. */
  readonly now: number | null;
  /** Ids that a wish is on its way for. */
  readonly busy: ReadonlySet<string>;
  /** What the server answered to a wish that it refused, by id. */
  readonly refusals: ReadonlyMap<string, RequestFailure>;
}

const asFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure ? error : new RequestFailure('The review queue could not be read.', 'Reload the page.');

/** An opening in a list that shows it no longer, or still. Pure. */
export function replaced(items: readonly Opening[], changed: Opening, which: Which): readonly Opening[] {
  const stays = which === null || (changed.state === 'reviewed') === (which === 'reviewed');
  return items.flatMap((item) => (item.id !== changed.id ? [item] : stays ? [changed] : []));
}

export class ReviewsStore {
  readonly state = new Signal<ReviewsState>({
    which: 'unreviewed',
    items: [],
    next: null,
    counts: null,
    loading: null,
    failure: null,
    now: null,
    busy: new Set(),
    refusals: new Map(),
  });
  private request: AbortController | null = null;

  constructor(private readonly tenant: string | null) {}

  show(which: Which): void {
    if (which === this.state.value.which && this.state.value.now !== null) return;
    this.state.patch({ which, items: [], next: null });
    void this.load(null);
  }

  reload(): Promise<void> {
    return this.load(null);
  }

  async more(): Promise<void> {
    const { next, loading } = this.state.value;
    if (next && !loading) await this.load(next);
  }

  dispose(): void {
    this.request?.abort();
  }

  end(opening: Opening): Promise<boolean> {
    return this.wish(opening, () => endOpening(this.tenant, opening.id));
  }

  judge(opening: Opening, verdict: Verdict, remark: string): Promise<boolean> {
    return this.wish(opening, () => reviewOpening(this.tenant, opening.id, verdict, remark));
  }

  private async wish(opening: Opening, ask: () => Promise<Opening>): Promise<boolean> {
    const { busy, refusals } = this.state.value;
    const others = new Map([...refusals].filter(([id]) => id !== opening.id));
    this.state.patch({ busy: new Set([...busy, opening.id]), refusals: others });
    let refusal: RequestFailure | null = null;
    try {
      const changed = await ask();
      this.state.patch({ items: replaced(this.state.value.items, changed, this.state.value.which) });
    } catch (error) {
      refusal = asFailure(error);
    }
    const now = this.state.value;
    this.state.patch({
      busy: new Set([...now.busy].filter((id) => id !== opening.id)),
      ...(refusal && { refusals: new Map([...now.refusals, [opening.id, refusal]]) }),
    });
    if (!refusal) void this.load(null, true);
    void lookAtGlass(this.tenant);
    return refusal === null;
  }

  /** `quiet`: only the numbers and what is new; what is on the screen stays until then. */
  private async load(before: string | null, quiet = false): Promise<void> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const { which, items } = this.state.value;
    if (!quiet) this.state.patch({ loading: before ? 'more' : 'first', failure: null });
    try {
      const page = await fetchOpenings(this.tenant, which, before, { signal: request.signal });
      const known = new Set(page.items.map((item) => item.id));
      const kept = before ? items.filter((item) => !known.has(item.id)) : [];
      this.state.patch({ items: [...kept, ...page.items], next: page.next, counts: page.counts, now: page.now, loading: null });
    } catch (error) {
      if (!isAbort(error)) this.state.patch({ loading: null, failure: asFailure(error) });
    }
  }
}
