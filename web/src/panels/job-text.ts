/** Background work in plain words. Pure. */
import type { Job, JobState, Subject } from '../client/jobs';
import { formatCount, plural } from '../ui/format';

export const STATE_NAMES: Record<JobState, string> = {
  running: 'Running',
  waiting: 'Waiting',
  failed: 'Failed',
  done: 'Done',
  cancelled: 'Cancelled',
};

interface Words {
  /** While it is not done, and when it is. */
  readonly doing: string;
  readonly done: string;
  readonly steps: Readonly<Record<string, string>>;
}

const WORKFLOWS: Readonly<Record<string, Words>> = {
  settle_series: {
    doing: 'Packing',
    done: 'Packed',
    steps: { settle: 'Packing the images and proving that none has changed' },
  },
};

/** "no_such-work" -> "No such work". */
function spelledOut(name: string): string {
  const words = name.replace(/[_-]+/g, ' ').trim();
  return words ? words[0]!.toUpperCase() + words.slice(1) : 'Unnamed work';
}

/** "CT Chest": the modality is not said twice. */
export function subjectText(subject: Subject | undefined): string {
  if (!subject) return 'a series';
  const { modality } = subject;
  const described = subject.description || subject.studyDescription;
  if (!described) return modality ? `${modality} series` : 'a series';
  const said = described.toUpperCase().split(/[^A-Z0-9]+/).includes(modality.toUpperCase());
  return modality && !said ? `${modality} ${described}` : described;
}

/** "Packing CT Chest". */
export function jobName(job: Job, subject: Subject | undefined): string {
  const words = WORKFLOWS[job.workflow];
  if (!words) return spelledOut(job.workflow);
  return `${job.state === 'done' ? words.done : words.doing} ${subjectText(subject)}`;
}

/** "295 images", or nothing. */
export function jobSize(job: Job, subject: Subject | undefined): string {
  const images = job.what === 'images' && job.total > 0 ? job.total : (subject?.images ?? 0);
  return images > 0 ? plural(images, 'image') : '';
}

/** "Packing CT Chest, 295 images". */
export const jobTitle = (job: Job, subject: Subject | undefined): string =>
  [jobName(job, subject), jobSize(job, subject)].filter(Boolean).join(', ');

/** What a job is at, in a sentence without a full stop. */
export function jobStep(job: Job): string {
  if (job.asked === 'retry') return 'Will be carried on with in a moment';
  if (job.asked === 'cancel') return 'Will end in a moment';
  if (job.state === 'waiting') return job.attempts > 0 ? 'Waits to be taken up again' : 'Waits for its turn';
  if (job.state === 'cancelled') return 'Ended before its time; what it had done stays done';
  if (job.state === 'done') return '';
  if (!job.step) return job.state === 'running' ? 'Begins' : '';
  return WORKFLOWS[job.workflow]?.steps[job.step] ?? `Step: ${spelledOut(job.step).toLowerCase()}`;
}

/** "120 of 295 images", "120 images", or nothing. */
export function progressText(job: Job): string {
  if (job.total > 0) return `${formatCount(job.done)} of ${formatCount(job.total)} ${job.what}`.trim();
  return job.done > 0 ? `${formatCount(job.done)} ${job.what}`.trim() : '';
}

/** 0 to 1, or null when it cannot be said. */
export const progressShare = (job: Job): number | null =>
  job.total > 0 ? Math.min(1, Math.max(0, job.done / job.total)) : null;

interface Cure {
  readonly sign: RegExp;
  readonly advice: string;
}

const CURES: readonly Cure[] = [
  { sign: /worker died/i, advice: 'See the server’s work.log for why it died; then retry.' },
  { sign: /has no workflow/i, advice: 'Another version of the server began it: run that version, then retry.' },
  { sign: /damaged|lost its manifest|not what was written|could not be proved/i, advice: 'Run “lightwell fsck” to see what is damaged; nothing was changed by this job.' },
  { sign: /\b(space|disk|room|full)\b/i, advice: 'Make room for the archive, then retry.' },
  { sign: /does not answer|unavailable|could not reach|timed? ?out/i, advice: 'Retry when the store and the database are back.' },
  { sign: /changed meanwhile|facts/i, advice: 'Images came while it worked: retry.' },
];

/** What to do about a failed job. */
export function jobAdvice(job: Job): string {
  if (job.state !== 'failed') return '';
  return (
    CURES.find(({ sign }) => sign.test(job.error))?.advice ??
    'Retry: it goes on at the step that failed. If it fails again, the server’s work.log says more.'
  );
}

/** The words the filter field looks through. */
export function jobMatches(job: Job, subject: Subject | undefined, wanted: string): boolean {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const all = [jobTitle(job, subject), subject?.studyDescription, STATE_NAMES[job.state], job.error, job.step, job.id]
    .join(' ')
    .toLowerCase();
  return words.every((word) => all.includes(word));
}
