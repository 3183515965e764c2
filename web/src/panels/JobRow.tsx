/** One piece of background work: what, how far, what went wrong, and what can be done about it. */
import { memo, type ReactElement } from 'react';
import type { RequestFailure } from '../client/http';
import type { Job, JobWish, Subject } from '../client/jobs';
import { viewerPath } from '../client/place';
import { canCancel, canRetry, type JobsStore } from '../store/jobs';
import { navigate } from '../store/navigation';
import { formatAgo, formatSpan, plural } from '../ui/format';
import { StateMark } from '../ui/job-marks';
import { isPlainClick } from './Header';
import { jobAdvice, jobName, jobSize, jobStep, jobTitle, progressShare, progressText, STATE_NAMES } from './job-text';

interface Props {
  readonly job: Job;
  readonly subject: Subject | undefined;
  readonly tenant: string | null;
  readonly store: JobsStore;
  readonly current: boolean;
  readonly confirming: boolean;
  readonly asking: JobWish | undefined;
  readonly refusal: RequestFailure | undefined;
  /** The server's clock now, milliseconds since 1970. */
  readonly now: number;
}

const WISHES: Record<JobWish, string> = { retry: 'Retrying…', cancel: 'Cancelling…' };

function Title({ job, subject, tenant }: Pick<Props, 'job' | 'subject' | 'tenant'>): ReactElement {
  const title = jobTitle(job, subject);
  const size = jobSize(job, subject);
  // A name that is too long is cut; how much work it is stays in sight.
  const text = (
    <>
      <span className="job-name">{jobName(job, subject)}</span>
      {size && <span className="job-size">, {size}</span>}
    </>
  );
  if (!subject || !job.study) {
    return (
      <span className="job-title" title={title}>
        {text}
      </span>
    );
  }
  const path = viewerPath(tenant, job.study);
  return (
    <a
      className="job-title"
      href={path}
      title={`${title}: open the study`}
      onClick={(event) => {
        if (!isPlainClick(event)) return;
        event.preventDefault();
        navigate(path);
      }}
    >
      {text}
    </a>
  );
}

function Progress({ job }: { readonly job: Job }): ReactElement | null {
  const share = progressShare(job);
  const text = progressText(job);
  if (job.state === 'done' || job.state === 'waiting' || (job.state !== 'running' && !text)) return null;
  return (
    <>
      <span
        className="progress"
        role="progressbar"
        aria-label="Progress"
        aria-valuetext={text || 'Under way'}
        aria-valuenow={share === null ? undefined : Math.round(share * 100)}
        data-unknown={(share === null && job.state === 'running') || undefined}
      >
        <span style={share === null ? undefined : { width: `${share * 100}%` }} />
      </span>
      <span className="progress-text">{text || 'Under way'}</span>
    </>
  );
}

/** What can be done; the question of a cancellation stands in the place of its button. */
function Actions({ job, store, confirming, asking }: Pick<Props, 'job' | 'store' | 'confirming' | 'asking'>): ReactElement {
  const wish = asking ?? job.asked;
  if (wish) return <span className="quiet">{WISHES[wish]}</span>;
  if (confirming) {
    return (
      <span className="job-confirm" role="group" aria-label="Cancel this job?">
        <button type="button" className="button button-danger" onClick={() => store.cancel(job)}>
          Cancel it
        </button>
        <button type="button" className="button" onClick={() => store.keep()}>
          Keep
        </button>
      </span>
    );
  }
  if (canRetry(job)) {
    return (
      <button type="button" className="button" title="Retry (r)" onClick={() => store.retry(job)}>
        Retry
      </button>
    );
  }
  if (!canCancel(job)) return <></>;
  return (
    <button type="button" className="button job-cancel" title="Cancel (x)" onClick={() => store.cancel(job)}>
      Cancel
    </button>
  );
}

/** How long ago it came; the exact times are in the tooltip. */
function Age({ job, now }: Pick<Props, 'job' | 'now'>): ReactElement {
  const exact = job.created === null ? undefined : `Came ${new Date(job.created).toLocaleString('sv-SE')}`;
  const changed = job.updated === null ? '' : `, last changed ${new Date(job.updated).toLocaleString('sv-SE')}`;
  return (
    <span className="job-age" title={exact && exact + changed}>
      {job.created === null ? '–' : formatAgo(now - job.created)}
    </span>
  );
}

function notes(job: Job): string {
  const took = job.state === 'done' && job.created !== null && job.updated !== null ? `Took ${formatSpan(job.updated - job.created)}` : '';
  const again = job.attempts > 1 ? plural(job.attempts, 'attempt') : '';
  const step = job.state === 'failed' && !job.asked ? '' : jobStep(job);
  return [step, took, again].filter(Boolean).join(' · ');
}

export const JobRow = memo(function JobRow(p: Props): ReactElement {
  const { job, subject, store } = p;
  const failed = job.state === 'failed' && !job.asked;
  return (
    <div
      className="job"
      role="listitem"
      data-job={job.id}
      data-state={job.state}
      data-current={p.current || undefined}
      aria-current={p.current || undefined}
      onClick={() => store.point(job.id)}
    >
      <span className="job-state">
        <StateMark state={job.state} />
        {STATE_NAMES[job.state]}
      </span>
      <span className="job-what">
        <Title job={job} subject={subject} tenant={p.tenant} />
        {failed && (
          <>
            <span className="job-error">{job.error || 'It failed and did not say why.'}</span>
            <span className="job-advice">{jobAdvice(job)}</span>
          </>
        )}
        {notes(job) && <span className="job-notes">{notes(job)}</span>}
        {p.refusal && (
          <span className="job-error" role="alert">
            {p.refusal.what} {p.refusal.advice}
          </span>
        )}
      </span>
      <span className="job-progress">
        <Progress job={job} />
      </span>
      <Age job={job} now={p.now} />
      <span className="job-actions">
        <Actions job={job} store={store} confirming={p.confirming} asking={p.asking} />
      </span>
    </div>
  );
});
