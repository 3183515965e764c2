/** What was opened in emergencies, and what is said of it afterwards. */
import { useEffect, useState, type FormEvent, type ReactElement } from 'react';
import type { Opening, Verdict, Which } from '../client/glass';
import { listPath } from '../client/place';
import { navigate } from '../store/navigation';
import { ReviewsStore, type ReviewsState } from '../store/reviews';
import { useSignal } from '../store/signal';
import { Badge, IconButton, Notice } from '../ui/controls';
import { formatAgo, formatCount } from '../ui/format';
import '../ui/glass.css';
import { durationText, endText, stateName, stateTone } from './review-text';

const CHIPS: readonly (readonly [Which, string])[] = [
  ['unreviewed', 'To review'],
  ['reviewed', 'Reviewed'],
  [null, 'All'],
];

const NOTHING: Record<'unreviewed' | 'reviewed' | 'all', readonly [string, string]> = {
  unreviewed: ['Nothing waits for review', 'When somebody breaks the glass, or uses a sealed account, it shows here.'],
  reviewed: ['Nothing was reviewed yet', 'Verdicts show here with who gave them.'],
  all: ['The glass was never broken', 'When somebody opens a patient in an emergency, or uses a sealed account, it shows here.'],
};

function Chips({ store, state }: { readonly store: ReviewsStore; readonly state: ReviewsState }): ReactElement {
  const waiting = state.counts?.unreviewed ?? 0;
  const overdue = state.counts?.overdue ?? 0;
  return (
    <div className="job-filters" role="group" aria-label="State">
      {CHIPS.map(([which, name]) => (
        <button
          key={name}
          type="button"
          className="chip"
          aria-pressed={which === state.which}
          data-alarm={(which === 'unreviewed' && overdue > 0) || undefined}
          onClick={() => store.show(which)}
        >
          {name}
          {which === 'unreviewed' && waiting > 0 && <span className="chip-count">{formatCount(waiting)}</span>}
        </button>
      ))}
      {overdue > 0 && <span className="review-overdue">{formatCount(overdue)} for more than 72 h</span>}
    </div>
  );
}

interface JudgeProps {
  readonly opening: Opening;
  readonly store: ReviewsStore;
  readonly busy: boolean;
}

/** The verdict, and in its place, once chosen, the remark that goes with it. */
function Judge({ opening, store, busy }: JudgeProps): ReactElement {
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const [remark, setRemark] = useState('');
  if (opening.own) return <span className="quiet">Somebody else reviews yours.</span>;
  if (opening.state === 'open') {
    return (
      <button type="button" className="button button-danger" disabled={busy} onClick={() => void store.end(opening)}>
        {busy ? 'Ending…' : 'End now'}
      </button>
    );
  }
  if (verdict === null) {
    return (
      <>
        <button type="button" className="button" disabled={busy} onClick={() => setVerdict('justified')}>
          Justified
        </button>
        <button type="button" className="button" disabled={busy} onClick={() => setVerdict('not-justified')}>
          Not justified
        </button>
      </>
    );
  }
  const must = verdict === 'not-justified';
  const save = (event: FormEvent): void => {
    event.preventDefault();
    void store.judge(opening, verdict, remark);
  };
  return (
    <form className="review-form" onSubmit={save} aria-label={`Verdict on ${opening.by}`}>
      <label className="glass-field">
        <span>{must ? 'Not justified: what is done about it' : 'Justified: remark (optional)'}</span>
        <textarea
          value={remark}
          rows={2}
          minLength={must ? 10 : undefined}
          maxLength={500}
          required={must}
          autoFocus
          onChange={(event) => setRemark(event.target.value)}
        />
      </label>
      <span className="review-form-buttons">
        <button type="submit" className={`button ${must ? 'button-danger' : 'button-main'}`} disabled={busy}>
          {busy ? 'Saving…' : 'Save verdict'}
        </button>
        <button type="button" className="button" disabled={busy} onClick={() => setVerdict(null)}>
          Back
        </button>
      </span>
    </form>
  );
}

interface RowProps {
  readonly opening: Opening;
  readonly store: ReviewsStore;
  readonly state: ReviewsState;
}

function Row({ opening, store, state }: RowProps): ReactElement {
  const now = state.now ?? opening.since;
  const refusal = state.refusals.get(opening.id);
  const patient = opening.issuer ? `${opening.patientId} (${opening.issuer})` : opening.patientId;
  return (
    <div className="review" role="listitem" data-opening={opening.id} data-state={opening.state}>
      <span className="review-state">
        <Badge tone={stateTone(opening)}>{stateName(opening)}</Badge>
      </span>
      <span className="review-what">
        <span className="review-title">
          <span className="strong">{opening.by}</span>
          {opening.sealed ? ' used a sealed account' : ` opened patient ${patient}`}
        </span>
        {opening.reason && <span className="review-reason">{opening.reason}</span>}
        <span className="quiet">
          {[durationText(opening, now), endText(opening), opening.origin && `from ${opening.origin}`].filter(Boolean).join(' · ')}
        </span>
        {opening.verdict && (
          <span className="review-verdict">
            {opening.reviewer}: {opening.remark || 'no remark'}
          </span>
        )}
        {refusal && (
          <span className="job-error" role="alert">
            {refusal.what} {refusal.advice}
          </span>
        )}
      </span>
      <span className="review-age" title={new Date(opening.since).toLocaleString('sv-SE')}>
        {formatAgo(now - opening.since)}
      </span>
      <span className="review-actions">
        {opening.verdict === null && <Judge opening={opening} store={store} busy={state.busy.has(opening.id)} />}
      </span>
    </div>
  );
}

function Skeleton(): ReactElement {
  return (
    <div aria-hidden="true">
      {Array.from({ length: 4 }, (_, i) => (
        <div key={i} className="review job-skeleton">
          <span className="bar" />
          <span className="bar" />
        </div>
      ))}
    </div>
  );
}

export function Reviews({ tenant }: { readonly tenant: string | null }): ReactElement {
  const [store] = useState(() => new ReviewsStore(tenant));
  const state = useSignal(store.state);
  useEffect(() => {
    document.title = 'Review · Lightwell';
    void store.reload();
    return () => store.dispose();
  }, [store]);
  const again = { label: 'Try again', onPress: () => void store.reload() };
  const [title, advice] = NOTHING[state.which ?? 'all'];
  return (
    <div className="jobs-page">
      <header className="list-header jobs-header">
        <IconButton icon="back" label="Studies" onPress={() => navigate(listPath(tenant))} />
        <h1>Emergency access: review</h1>
        <span className="freshness" role="status">
          {state.counts && state.counts.open > 0 ? `${formatCount(state.counts.open)} open now` : ''}
        </span>
      </header>
      <Chips store={store} state={state} />
      <main className="list" aria-busy={state.loading !== null}>
        {state.failure ? (
          <Notice alert title={state.failure.what} advice={state.failure.advice} action={again} />
        ) : state.now === null || (state.loading === 'first' && state.items.length === 0) ? (
          <Skeleton />
        ) : state.items.length === 0 ? (
          <Notice title={title} advice={advice} />
        ) : (
          <div role="list" aria-label="Openings" className="rows">
            {state.items.map((opening) => (
              <Row key={opening.id} opening={opening} store={store} state={state} />
            ))}
          </div>
        )}
        {state.next && !state.failure && (
          <div className="list-end">
            <button type="button" className="button" disabled={state.loading === 'more'} onClick={() => void store.more()}>
              {state.loading === 'more' ? 'Loading older ones…' : 'Load older ones'}
            </button>
          </div>
        )}
      </main>
      <footer className="list-footer">Not a cleared medical device</footer>
    </div>
  );
}
