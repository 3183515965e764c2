/** The study list: search, filter, sort, scroll on, open. */
import { useEffect, useLayoutEffect, useRef, type ReactElement } from 'react';
import type { StudyItem, Tenant } from '../client/console';
import type { RequestFailure } from '../client/http';
import { listPath, viewerPath } from '../client/place';
import { approach } from '../store/approach';
import { navigate } from '../store/navigation';
import { may, session } from '../store/session';
import { useSignal } from '../store/signal';
import { studyList, type ListState, type StudyListStore } from '../store/study-list';
import { Badge, Notice } from '../ui/controls';
import { formatCount } from '../ui/format';
import { Icon } from '../ui/icons';
import { About } from './About';
import { Account, AdminLink, GlassLinks, JobsLink, TenantSwitch } from './Header';
import { StudyRow } from './StudyRow';

const MODALITIES = ['CT', 'MR', 'CR', 'DX', 'MG', 'US', 'XA', 'PT', 'NM'];
const TYPING_PAUSE = 160;
const IDLE_WAIT = 1000;

interface Column {
  readonly key: string;
  readonly label: string;
  readonly className: string;
}

const COLUMNS: readonly Column[] = [
  { key: 'PatientName', label: 'Patient', className: 'cell-patient' },
  { key: 'StudyDescription', label: 'Study', className: 'cell-study' },
  { key: 'StudyDate', label: 'Date', className: 'cell-date' },
];

function SortButton({ column, store, sort }: { column: Column; store: StudyListStore; sort: string }): ReactElement {
  const active = sort.replace(/^-/, '') === column.key;
  const descending = sort.startsWith('-');
  // Dates start with the newest, texts with A.
  const next = active ? (descending ? column.key : `-${column.key}`) : column.key === 'StudyDate' ? '-StudyDate' : column.key;
  return (
    <button
      type="button"
      className={`sort ${column.className}`}
      aria-pressed={active}
      onClick={() => store.search({ sort: next })}
    >
      {column.label}
      {active && <Icon name={descending ? 'down' : 'up'} />}
    </button>
  );
}

function Heading({ store, sort }: { store: StudyListStore; sort: string }): ReactElement {
  const [patient, study, date] = COLUMNS as [Column, Column, Column];
  return (
    <div className="row row-heading">
      <span />
      <SortButton column={patient} store={store} sort={sort} />
      <SortButton column={study} store={store} sort={sort} />
      <span className="cell-marks" />
      <span className="cell-modality">Modality</span>
      <span className="cell-count">Images</span>
      <SortButton column={date} store={store} sort={sort} />
    </div>
  );
}

interface FilterProps {
  readonly store: StudyListStore;
  readonly state: ListState;
}

function Filters({ store, state }: FilterProps): ReactElement {
  const { query } = state;
  return (
    <div className="filters">
      <select
        aria-label="Modality"
        value={query.modality}
        onChange={(event) => store.search({ modality: event.target.value })}
      >
        <option value="">All modalities</option>
        {MODALITIES.map((modality) => (
          <option key={modality}>{modality}</option>
        ))}
      </select>
      <input
        type="date"
        aria-label="From date"
        title="Study date from"
        value={query.from}
        onChange={(event) => store.search({ from: event.target.value })}
      />
      <input
        type="date"
        aria-label="To date"
        title="Study date to"
        value={query.to}
        onChange={(event) => store.search({ to: event.target.value })}
      />
    </div>
  );
}

function Skeleton(): ReactElement {
  return (
    <div aria-hidden="true">
      {Array.from({ length: 8 }, (_, i) => (
        <div key={i} className="row row-skeleton">
          <span className="thumbnail" />
          <span className="bar" />
          <span className="bar" />
        </div>
      ))}
    </div>
  );
}

/** "82 studies"; "50+ studies" while the server has not counted the rest. */
function countText({ items, next, total, loading }: ListState): string {
  if (loading === 'first' && items.length === 0) return '';
  const known = total ?? items.length;
  const more = total === null && next ? '+' : '';
  return `${formatCount(known)}${more} ${known === 1 && !more ? 'study' : 'studies'}`;
}

function isFiltered({ query }: ListState): boolean {
  return Boolean(query.text || query.modality || query.from || query.to);
}

interface EmptyProps extends FilterProps {
  /** The demonstration tenant, when there is one and it is not this one. */
  readonly elsewhere: Tenant | undefined;
}

function Empty({ store, state, elsewhere }: EmptyProps): ReactElement {
  const who = useSignal(session);
  if (!isFiltered(state)) {
    const go = elsewhere && { label: `Open ${elsewhere.label}`, onPress: () => navigate(listPath(elsewhere.name)) };
    return (
      <Notice
        title="No studies yet"
        advice={
          may(who, 'archive:instance:store')
            ? 'Send images by DICOM or STOW-RS, or import a folder with “lightwell import”.'
            : 'Studies that you may see appear here as they arrive.'
        }
        {...(go && { action: go })}
      />
    );
  }
  const clear = (): void => store.search({ text: '', modality: '', from: '', to: '' });
  return (
    <Notice
      title="No study matches"
      advice="Search looks at name, patient ID, accession number and description."
      action={{ label: 'Clear the search', onPress: clear }}
    />
  );
}

/** Nothing of the list is open to whoever looks: said as that, not as something that went wrong. */
function Closed(): ReactElement {
  const who = useSignal(session);
  const roles = who?.roles.join(', ') ?? '';
  return (
    <Notice
      title="No studies are open to you here"
      advice={`${roles ? `With the role ${roles} no study list is open in this tenant.` : 'No study list is open to you in this tenant.'} If you should see some, ask its administrator.`}
    />
  );
}

/** A question that cannot be answered is not asked again: it has to be changed. */
function Failed({ failure, store }: { readonly failure: RequestFailure; readonly store: StudyListStore }): ReactElement {
  if (failure.status === 403) return <Closed />;
  const again = failure.status === 400 ? {} : { action: { label: 'Try again', onPress: () => void store.reload() } };
  return <Notice alert title={failure.what} advice={failure.advice} {...again} />;
}

/** Ask for the next page when the end of the list comes near. */
function EndOfList({ store, loading }: { store: StudyListStore; loading: boolean }): ReactElement {
  const mark = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const seen = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) void store.more();
      },
      { rootMargin: '600px' },
    );
    if (mark.current) seen.observe(mark.current);
    return () => seen.disconnect();
  }, [store, loading]);
  return (
    <div ref={mark} className="list-end">
      {loading ? 'Loading more…' : ''}
    </div>
  );
}

function openCursor(store: StudyListStore, tenant: string | null): void {
  const { cursor, items } = store.state.value;
  const study = cursor ?? items[0]?.study;
  if (study) navigate(viewerPath(tenant, study));
}

function useListKeys(store: StudyListStore, tenant: string | null, search: { current: HTMLInputElement | null }): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const inSearch = event.target === search.current;
      const elsewhere = event.target instanceof HTMLElement && /^(SELECT|INPUT|BUTTON)$/.test(event.target.tagName);
      if (event.ctrlKey || event.metaKey || event.altKey || (elsewhere && !inSearch)) return;
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
        store.moveCursor(event.key === 'ArrowDown' ? 1 : -1);
        event.preventDefault();
      } else if (event.key === 'Enter') openCursor(store, tenant);
      else if (event.key === '/' && !inSearch) {
        search.current?.focus();
        search.current?.select();
        event.preventDefault();
      } else if (event.key === 'Escape' && inSearch) store.search({ text: '' });
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [store, tenant, search]);
}

function useCursorInView(cursor: string | null): void {
  useEffect(() => {
    document.querySelector('[data-current]')?.scrollIntoView({ block: 'nearest' });
  }, [cursor]);
}

/** The row that the keyboard is on is fetched ahead, as the one under the pointer is. */
function useApproach(tenant: string | null, items: readonly StudyItem[], cursor: string | null): void {
  const latest = useRef(items);
  latest.current = items;
  useEffect(() => {
    const study = latest.current.find((item) => item.study === cursor);
    if (study) approach(tenant, study);
  }, [tenant, cursor]);
}

/** Once, when the rows are here and the browser has nothing better to do. */
function useIdle(ready: boolean, act: () => void): void {
  useEffect(() => {
    if (!ready) return undefined;
    if (typeof requestIdleCallback !== 'function') {
      const timer = setTimeout(act, IDLE_WAIT);
      return () => clearTimeout(timer);
    }
    const handle = requestIdleCallback(act, { timeout: IDLE_WAIT });
    return () => cancelIdleCallback(handle);
  }, [ready, act]);
}

interface Props {
  readonly tenant: string | null;
  readonly tenants: readonly Tenant[];
  readonly demo: boolean;
  /** Called when the rows are on screen and there is time. */
  readonly onIdle: () => void;
}

export function StudyList({ tenant, tenants, demo, onIdle }: Props): ReactElement {
  const store = studyList(tenant);
  const state = useSignal(store.state);
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = 'Studies · Lightwell';
    void store.refresh();
    return () => store.pause();
  }, [store]);
  const list = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    if (list.current) list.current.scrollTop = store.scrollTop;
  }, [store]);
  useListKeys(store, tenant, search);
  useCursorInView(state.cursor);
  useApproach(tenant, state.items, state.cursor);
  useIdle(state.loading === null, onIdle);
  const first = state.loading === 'first' && state.items.length === 0;
  return (
    <div className="list-page">
      <header className="list-header">
        <span className="brand">Lightwell</span>
        <TenantSwitch tenants={tenants} tenant={tenant} path={listPath} />
        {demo && <Badge tone="info">DEMO</Badge>}
        <label className="search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            placeholder="Search name, ID, accession, description"
            aria-label="Search studies"
            value={state.query.text}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => store.search({ text: event.target.value }, TYPING_PAUSE)}
          />
          <kbd>/</kbd>
        </label>
        <Filters store={store} state={state} />
        <span className="count" role="status">
          {countText(state)}
        </span>
        <GlassLinks tenant={tenant} />
        <JobsLink tenant={tenant} />
        <AdminLink tenant={tenant} />
        <Account tenant={tenant} />
        <About />
      </header>
      <main
        ref={list}
        className="list"
        aria-busy={state.loading !== null}
        onScroll={(event) => {
          store.scrollTop = event.currentTarget.scrollTop;
        }}
      >
        <Heading store={store} sort={state.query.sort} />
        {state.failure && state.items.length === 0 ? (
          <Failed failure={state.failure} store={store} />
        ) : first ? (
          <Skeleton />
        ) : (
          <div role="list" className="rows" data-stale={state.loading === 'first' || undefined}>
            {state.items.map((study) => (
              <StudyRow key={study.study} study={study} tenant={tenant} current={study.study === state.cursor} />
            ))}
          </div>
        )}
        {!state.loading && !state.failure && state.items.length === 0 && <Empty store={store} state={state} elsewhere={demo ? undefined : tenants.find((t) => t.demo)} />}
        {state.failure && state.items.length > 0 && (
          <Failed failure={state.failure} store={store} />
        )}
        {state.next && !state.failure && <EndOfList store={store} loading={state.loading === 'more'} />}
      </main>
      <footer className="list-footer">Not a cleared medical device</footer>
    </div>
  );
}
