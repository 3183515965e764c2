/** The form that opens one patient in an emergency. It says the same of patients there are and of such there are not. */
import { useEffect, useState, type FormEvent, type ReactElement } from 'react';
import { breakGlass } from '../client/glass';
import { listPath } from '../client/place';
import { openNow } from '../store/clock-of-glass';
import { glass, knownEverywhere } from '../store/glass';
import { navigate } from '../store/navigation';
import { useSignal } from '../store/signal';
import { studyList } from '../store/study-list';
import { IconButton, Notice } from '../ui/controls';
import { Icon } from '../ui/icons';
import '../ui/glass.css';
import { useAttempt } from './form';
import { isReason, REASON_MOST, reasonHint } from './reason';

interface Props {
  readonly tenant: string | null;
}

function Form({ tenant }: Props): ReactElement {
  const [patientId, setPatientId] = useState('');
  const [issuer, setIssuer] = useState('');
  const [reason, setReason] = useState('');
  const [done, setDone] = useState(false);
  const [failure, busy, attempt] = useAttempt();
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    attempt(async () => {
      const opened = await breakGlass(tenant, { patientId, issuer, reason });
      setDone(true);
      await knownEverywhere(tenant);
      studyList(tenant).search({ text: opened.patientId, modality: '', from: '', to: '' });
      navigate(listPath(tenant));
    });
  };
  return (
    <form className="glass-form" onSubmit={submit}>
      <h2>
        <Icon name="glass" /> Open one patient in an emergency
      </h2>
      <p className="quiet">
        For 60 minutes, and for this patient only. It is recorded with your name, announced at once, and reviewed afterwards by somebody
        else.
      </p>
      {failure && (
        <p className="glass-failure" role="alert">
          <span className="strong">{failure.what}</span> {failure.advice}
        </p>
      )}
      <label className="glass-field">
        <span>Patient ID</span>
        <input
          type="text"
          value={patientId}
          maxLength={64}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          onChange={(event) => setPatientId(event.target.value)}
        />
        <small className="quiet">As it stands on the request: every character counts.</small>
      </label>
      <label className="glass-field">
        <span>Issuer (optional)</span>
        <input
          type="text"
          value={issuer}
          maxLength={64}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          onChange={(event) => setIssuer(event.target.value)}
        />
        <small className="quiet">Who gave the ID, where the request names it. Else leave it empty.</small>
      </label>
      <label className="glass-field">
        <span>Reason</span>
        <textarea
          value={reason}
          rows={3}
          maxLength={REASON_MOST}
          required
          onChange={(event) => setReason(event.target.value)}
        />
        <small className="quiet" aria-live="polite">
          {reasonHint(reason)}
        </small>
      </label>
      <button type="submit" className="button button-break" disabled={busy || !patientId.trim() || !isReason(reason)}>
        {done ? 'Opening…' : busy ? 'Breaking the glass…' : 'Break the glass'}
      </button>
    </form>
  );
}

export function BreakGlass({ tenant }: Props): ReactElement {
  const state = useSignal(glass);
  const [opening, setOpening] = useState(false);
  const open = openNow(state, Date.now());
  useEffect(() => {
    document.title = 'Emergency access · Lightwell';
    // What was open when one came: an opening of this form shows itself by the page it leads to.
    setOpening(openNow(glass.value, Date.now()) === null);
  }, []);
  const list = { label: 'Go to the studies', onPress: () => navigate(listPath(tenant)) };
  return (
    <div className="glass-page">
      <header className="list-header jobs-header">
        <IconButton icon="back" label="Studies" onPress={() => navigate(listPath(tenant))} />
        <h1>Emergency access</h1>
      </header>
      <main className="list">
        {state.standing !== null && !state.standing.mayBreak ? (
          <Notice
            title="Emergency access is for clinical roles"
            advice="Sign in with a personal account that has one; an administrator gives it."
            action={list}
          />
        ) : open && !opening ? (
          <Notice title="A patient is open already" advice="End that one first: the next needs its own reason." action={list} />
        ) : (
          <Form tenant={tenant} />
        )}
      </main>
      <footer className="list-footer">Not a cleared medical device</footer>
    </div>
  );
}
