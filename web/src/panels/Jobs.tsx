/** Background work: what runs, waits, failed and was done; live while somebody looks. */
import { useDeferredValue, useEffect, useMemo, useRef, useState, type ReactElement } from 'react';
import type { Tenant } from '../client/console';
import type { Job, JobState } from '../client/jobs';
import { jobsPath, listPath, viewerPath } from '../client/place';
import { jobsOf, type JobsState, type JobsStore } from '../store/jobs';
import { navigate } from '../store/navigation';
import { useSignal } from '../store/signal';
import { Badge, IconButton, Notice } from '../ui/controls';
import { formatCount, plural } from '../ui/format';
import { Icon } from '../ui/icons';
import { About } from './About';
import { TenantSwitch } from './Header';
import { JobRow } from './JobRow';
import { jobMatches, STATE_NAMES } from './job-text';

const FILTERS: readonly (JobState | null)[] = [null, 'running', 'waiting', 'failed', 'done', 'cancelled'];
const COUNT_LIMIT = 1000;

function countOf(state: JobState | null, counts: JobsState['counts']): number {
  return state === 'running' || state === 'waiting' || state === 'failed' ? (counts?.[state] ?? 0) : 0;
}

function Filters({ store, state }: { readonly store: JobsStore; readonly state: JobsState }): ReactElement {
  return (
    <div className="job-filters" role="group" aria-label="State">
      {FILTERS.map((filter) => {
        const n = countOf(filter, state.counts);
        return (
          <button
            key={filter ?? 'all'}
            type="button"
            className="chip"
            aria-pressed={filter === state.filter}
            data-alarm={(filter === 'failed' && n > 0) || undefined}
            onClick={() => store.show(filter)}
          >
            {filter ? STATE_NAMES[filter] : 'All'}
            {n > 0 && <span className="chip-count">{n >= COUNT_LIMIT ? `${formatCount(COUNT_LIMIT)}+` : n}</span>}
          </button>
        );
      })}
    </div>
  );
}

/** "Live", or since when it is not. */
function Freshness({ state }: { readonly state: JobsState }): ReactElement {
  const stale = state.failure !== null;
  const since = state.readAt === null ? '' : new Date(state.readAt).toLocaleTimeString('sv-SE');
  return (
    <span className="freshness" role="status" data-stale={stale || undefined} title={since && `Read at ${since}`}>
      {state.readAt === null ? '' : stale ? `As of ${since}` : 'Live'}
    </span>
  );
}

const NOTHING: Record<JobState, string> = {
  running: 'Nothing runs now',
  waiting: 'Nothing waits',
  failed: 'Nothing has failed',
  done: 'Nothing was done yet',
  cancelled: 'Nothing was cancelled',
};

interface EmptyProps {
  readonly store: JobsStore;
  readonly state: JobsState;
  readonly words: string;
  readonly clear: () => void;
}

function Empty({ store, state, words, clear }: EmptyProps): ReactElement {
  if (words && state.items.length > 0) {
    return (
      <Notice
        title="No job matches"
        advice={`${plural(state.items.length, 'job')} looked through: what they do, their errors and ids.`}
        action={{ label: 'Clear the search', onPress: clear }}
      />
    );
  }
  if (state.filter) {
    const all = { label: 'Show all', onPress: () => store.show(null) };
    return <Notice title={NOTHING[state.filter]} advice="Jobs are kept for 30 days after their end." action={all} />;
  }
  return <Notice title="No background work yet" advice="When images have come and their series has been quiet for a minute, it is packed; that shows here." />;
}

function Skeleton(): ReactElement {
  return (
    <div aria-hidden="true">
      {Array.from({ length: 6 }, (_, i) => (
        <div key={i} className="job job-skeleton">
          <span className="bar" />
          <span className="bar" />
        </div>
      ))}
    </div>
  );
}

interface Hands {
  readonly store: JobsStore;
  readonly tenant: string | null;
  readonly shown: readonly Job[];
  readonly search: { readonly current: HTMLInputElement | null };
  readonly clear: () => void;
}

function move({ store, shown }: Hands, step: number): void {
  const at = shown.findIndex((job) => job.id === store.state.value.cursor);
  const next = shown[at < 0 ? 0 : Math.min(Math.max(0, at + step), shown.length - 1)];
  if (next) store.point(next.id);
}

/** What a key does outside of the search field; false: nothing. */
function press(key: string, onButton: boolean, hands: Hands): boolean {
  const { store, shown, tenant, search } = hands;
  const { cursor, confirming } = store.state.value;
  const job = shown.find((each) => each.id === cursor);
  if (key === 'j' || key === 'ArrowDown') move(hands, 1);
  else if (key === 'k' || key === 'ArrowUp') move(hands, -1);
  else if (key === '/') {
    search.current?.focus();
    search.current?.select();
  } else if (key === 'Escape' && confirming) store.keep();
  else if (key === 'r' && job) store.retry(job);
  else if (key === 'x' && job) store.cancel(job);
  else if (key === 'Enter' && job && !onButton) {
    if (confirming === job.id) store.cancel(job);
    else if (store.state.value.subjects.has(job.series)) navigate(viewerPath(tenant, job.study));
    else return false;
  } else return false;
  return true;
}

function useKeys(hands: Hands): void {
  const latest = useRef(hands);
  latest.current = hands;
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target instanceof HTMLElement ? event.target : null;
      const { search, clear } = latest.current;
      if (target && target === search.current) {
        if (event.key === 'Escape') {
          clear();
          target.blur();
        } else if (event.key === 'Enter' || event.key === 'ArrowDown') {
          target.blur();
          move(latest.current, 1);
          event.preventDefault();
        }
        return;
      }
      if (target && /^(SELECT|INPUT)$/.test(target.tagName)) return;
      const onButton = target !== null && /^(BUTTON|A)$/.test(target.tagName);
      if (press(event.key, onButton, latest.current)) event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}

const KEYS: readonly (readonly [string, string])[] = [
  ['j k', 'move'],
  ['r', 'retry'],
  ['x', 'cancel'],
  ['↵', 'open study'],
  ['/', 'search'],
];

interface Props {
  readonly tenant: string | null;
  readonly tenants: readonly Tenant[];
  readonly demo: boolean;
}

export function Jobs({ tenant, tenants, demo }: Props): ReactElement {
  const store = jobsOf(tenant);
  const state = useSignal(store.state);
  const [words, setWords] = useState('');
  const wanted = useDeferredValue(words.trim());
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = 'Background work · Lightwell';
    return store.watch();
  }, [store]);
  const shown = useMemo(
    () => (wanted ? state.items.filter((job) => jobMatches(job, state.subjects.get(job.series), wanted)) : state.items),
    [state.items, state.subjects, wanted],
  );
  const clear = (): void => setWords('');
  useKeys({ store, tenant, shown, search, clear });
  useEffect(() => {
    document.querySelector('[data-current]')?.scrollIntoView({ block: 'nearest' });
  }, [state.cursor, state.confirming]);
  const first = state.loading === 'first' && state.items.length === 0;
  const again = { label: 'Try again', onPress: () => void store.reload() };
  const now = (state.readAt ?? 0) + state.skew;
  return (
    <div className="jobs-page">
      <header className="list-header jobs-header">
        <IconButton icon="back" label="Studies" onPress={() => navigate(listPath(tenant))} />
        <h1>Background work</h1>
        <TenantSwitch tenants={tenants} tenant={tenant} path={jobsPath} />
        {demo && <Badge tone="info">DEMO</Badge>}
        <label className="search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            placeholder="Search what is shown"
            aria-label="Search jobs"
            value={words}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => setWords(event.target.value)}
          />
          <kbd>/</kbd>
        </label>
        <Freshness state={state} />
        <About />
      </header>
      <Filters store={store} state={state} />
      <main className="list" aria-busy={state.loading !== null}>
        {state.failure && state.items.length > 0 && (
          <div className="banner" role="alert">
            <span>
              <b>{state.failure.what}</b> {state.failure.advice} What you see may be out of date.
            </span>
            <button type="button" className="button" onClick={again.onPress}>
              {again.label}
            </button>
          </div>
        )}
        {state.failure && state.items.length === 0 ? (
          <Notice alert title={state.failure.what} advice={state.failure.advice} action={again} />
        ) : first || (state.readAt === null && !state.failure) ? (
          <Skeleton />
        ) : (
          <div role="list" aria-label="Jobs" className="rows" data-stale={state.loading === 'first' || undefined}>
            {shown.map((job) => (
              <JobRow
                key={job.id}
                job={job}
                subject={state.subjects.get(job.series)}
                tenant={tenant}
                store={store}
                current={job.id === state.cursor}
                confirming={job.id === state.confirming}
                asking={state.asking.get(job.id)}
                refusal={state.refusals.get(job.id)}
                now={now}
              />
            ))}
          </div>
        )}
        {state.readAt !== null && !state.failure && state.loading !== 'first' && shown.length === 0 && (
          <Empty store={store} state={state} words={wanted} clear={clear} />
        )}
        {state.next && !state.failure && (
          <div className="list-end">
            <button type="button" className="button" disabled={state.loading === 'more'} onClick={() => void store.more()}>
              {state.loading === 'more' ? 'Loading older jobs…' : 'Load older jobs'}
            </button>
          </div>
        )}
      </main>
      <footer className="list-footer jobs-footer">
        <span>Not a cleared medical device</span>
        <span className="key-hints">
          {KEYS.map(([key, what]) => (
            <span key={key}>
              <kbd>{key}</kbd> {what}
            </span>
          ))}
        </span>
      </footer>
    </div>
  );
}
