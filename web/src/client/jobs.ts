/** Background work as the console API tells it. Answers are checked here. */
import { count, list, object, text } from './checked';
import { get, post, readJson, type RequestOptions } from './http';
import { consoleRoot } from './place';

export const JOB_STATES = ['running', 'waiting', 'failed', 'done', 'cancelled'] as const;
export type JobState = (typeof JOB_STATES)[number];
export type JobWish = 'retry' | 'cancel';

export interface Job {
  readonly id: string;
  readonly workflow: string;
  readonly state: JobState;
  readonly step: string;
  readonly done: number;
  /** 0: not said. */
  readonly total: number;
  /** Of what: "images". */
  readonly what: string;
  readonly attempts: number;
  readonly error: string;
  /** What somebody asked for and has not come to pass yet. */
  readonly asked: JobWish | null;
  readonly study: string;
  readonly series: string;
  /** Milliseconds since 1970 by the server's clock; null when not said. */
  readonly created: number | null;
  readonly updated: number | null;
}

/** A series without anything of its patient. */
export interface Subject {
  readonly modality: string;
  readonly description: string;
  readonly studyDescription: string;
  readonly images: number;
}

export interface JobCounts {
  readonly waiting: number;
  readonly running: number;
  readonly failed: number;
}

export interface JobPage {
  readonly items: readonly Job[];
  readonly next: string | null;
  readonly counts: JobCounts;
  /** By series UID. */
  readonly subjects: ReadonlyMap<string, Subject>;
  /** The server's clock, milliseconds since 1970. */
  readonly now: number;
}

const instant = (value: unknown): number | null => {
  const at = Date.parse(text(value));
  return Number.isNaN(at) ? null : at;
};

const stateOf = (value: unknown): JobState | null => JOB_STATES.find((state) => state === value) ?? null;

/** A job, or null when the answer holds none that this page understands. */
export function readJob(value: unknown): Job | null {
  const o = object(value);
  const state = stateOf(o['state']);
  const id = text(o['id']);
  if (!state || !id) return null;
  const asked = o['asked'];
  return {
    id,
    workflow: text(o['workflow']),
    state,
    step: text(o['step']),
    done: count(o['done']),
    total: count(o['total']),
    what: text(o['what']),
    attempts: count(o['attempts']),
    error: text(o['error']),
    asked: asked === 'retry' || asked === 'cancel' ? asked : null,
    study: text(o['study_uid']),
    series: text(o['series_uid']),
    created: instant(o['created']),
    updated: instant(o['updated']),
  };
}

export function readCounts(value: unknown): JobCounts {
  const o = object(value);
  return { waiting: count(o['waiting']), running: count(o['running']), failed: count(o['failed']) };
}

function readSubject(value: unknown): Subject {
  const o = object(value);
  return {
    modality: text(o['modality']),
    description: text(o['description']).trim(),
    studyDescription: text(o['study_description']).trim(),
    images: count(o['images']),
  };
}

export interface JobQuery {
  readonly state: JobState | null;
  readonly limit: number;
  /** Id of the job after which the page begins. */
  readonly before: string | null;
  /** Look up which series the jobs are about: wanted once a job, not each time. */
  readonly describe: boolean;
}

/** Jobs, newest first. @throws RequestFailure */
export async function fetchJobs(tenant: string | null, query: JobQuery, options?: RequestOptions): Promise<JobPage> {
  const parameters = new URLSearchParams({ limit: String(query.limit) });
  if (query.state) parameters.set('state', query.state);
  if (query.before) parameters.set('before', query.before);
  if (query.describe) parameters.set('describe', 'true');
  const url = `${consoleRoot(tenant)}/jobs?${parameters}`;
  const body = object(await get(url, 'Loading the background work', readJson, options));
  return {
    items: list(body['items']).map(readJob).filter((job) => job !== null),
    next: text(body['next_before']) || null,
    counts: readCounts(body['counts']),
    subjects: new Map(Object.entries(object(body['subjects'])).map(([uid, s]) => [uid, readSubject(s)])),
    now: instant(body['now']) ?? Date.now(),
  };
}

/** How many jobs wait, run and have failed. @throws RequestFailure */
export async function fetchJobCounts(tenant: string | null, options?: RequestOptions): Promise<JobCounts> {
  return readCounts(await get(`${consoleRoot(tenant)}/jobs/counts`, 'Counting the background work', readJson, options));
}

const WISHES: Record<JobWish, string> = { retry: 'Retrying the job', cancel: 'Cancelling the job' };

/** Ask that a job is retried or cancelled; it comes to pass within seconds. @throws RequestFailure */
export async function askOfJob(tenant: string | null, job: string, wish: JobWish, options?: RequestOptions): Promise<Job | null> {
  // Ids are letters, digits and ._:/@-, which a path holds as they are.
  const url = `${consoleRoot(tenant)}/jobs/${job}/${wish}`;
  return readJob(await post(url, {}, WISHES[wish], readJson, options));
}
