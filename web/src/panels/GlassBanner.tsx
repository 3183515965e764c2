/** What is open in an emergency: over every page, as long as it is open. */
import { useEffect, useState, type ReactElement } from 'react';
import type { Opening } from '../client/glass';
import { countdown, openNow, timeLeft } from '../store/clock-of-glass';
import { endMine, glass, lookAtGlass } from '../store/glass';
import { useSignal } from '../store/signal';
import { Icon } from '../ui/icons';
import '../ui/glass.css';
import { useAttempt } from './form';

/** This machine's clock, once a second while `ticking`. */
function useNow(ticking: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!ticking) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticking]);
  return now;
}

interface OpenProps {
  readonly tenant: string | null;
  readonly open: Opening;
  readonly left: number;
}

function OpenPatient({ tenant, open, left }: OpenProps): ReactElement {
  const [failure, busy, attempt] = useAttempt();
  const id = open.issuer ? `${open.patientId} (${open.issuer})` : open.patientId;
  return (
    <section className="glass-banner" aria-label="Emergency access">
      <Icon name="glass" />
      <p className="glass-banner-text">
        <span className="strong">Emergency access</span>
        <span className="glass-banner-who" title={`Patient ${id}: ${open.reason}`}>
          Patient {id}
        </span>
        <span className="glass-banner-note">Every act is recorded and reviewed.</span>
        {failure && (
          <span role="alert">
            {failure.what} {failure.advice}
          </span>
        )}
      </p>
      <span className="glass-banner-time" role="timer" aria-label="Time left">
        {countdown(left)}
      </span>
      <button type="button" className="button" disabled={busy} onClick={() => attempt(() => endMine(tenant, open.id))}>
        {busy ? 'Ending…' : 'End now'}
      </button>
    </section>
  );
}

export function GlassBanner({ tenant }: { readonly tenant: string | null }): ReactElement | null {
  const state = useSignal(glass);
  const { standing, skew } = state;
  const pending = standing?.open ?? null;
  const now = useNow(pending !== null);
  const open = openNow(state, now);
  const lapsed = pending !== null && open === null;
  useEffect(() => {
    if (lapsed) void lookAtGlass(tenant);
  }, [lapsed, tenant]);
  return (
    <>
      {standing?.sealed && (
        <section className="glass-banner glass-banner-sealed" aria-label="Emergency account">
          <Icon name="glass" />
          <p className="glass-banner-text">
            <span className="strong">Emergency account</span>
            <span className="glass-banner-note">Its envelope was opened: every act is recorded and reviewed.</span>
          </p>
        </section>
      )}
      {open && <OpenPatient tenant={tenant} open={open} left={timeLeft(open, skew, now)} />}
    </>
  );
}
