/** Break-glass: opening one patient in an emergency, and judging it afterwards. */
import { count, list, object, text, type Json } from './checked';
import { get, post, readJson, type RequestOptions } from './http';
import { consoleRoot } from './place';

export type OpeningState = 'open' | 'unreviewed' | 'reviewed';
export type Verdict = 'justified' | 'not-justified';

export interface Opening {
  readonly id: string;
  /** Of a sealed account there is no patient. */
  readonly sealed: boolean;
  readonly state: OpeningState;
  readonly by: string;
  readonly origin: string;
  readonly patientId: string;
  readonly issuer: string;
  readonly reason: string;
  /** Milliseconds since 1970, by the server's clock. */
  readonly since: number;
  readonly until: number;
  readonly ended: number | null;
  /** 'time', or who ended it: 'person:ada'. */
  readonly endedBy: string;
  readonly overdue: boolean;
  readonly own: boolean;
  readonly reviewed: number | null;
  readonly reviewer: string;
  readonly verdict: Verdict | null;
  readonly remark: string;
}

export interface QueueCounts {
  readonly unreviewed: number;
  readonly overdue: number;
  readonly open: number;
}

export interface Standing {
  readonly now: number;
  readonly open: Opening | null;
  readonly sealed: boolean;
  readonly mayBreak: boolean;
  /** Only for those who may review. */
  readonly counts: QueueCounts | null;
}

export interface OpeningPage {
  readonly items: readonly Opening[];
  readonly next: string | null;
  readonly counts: QueueCounts;
  readonly now: number;
}

/** What a list shows; null is all. */
export type Which = 'unreviewed' | 'reviewed' | null;

const root = (tenant: string | null): string => `${consoleRoot(tenant)}/glass`;
const time = (value: unknown): number => Date.parse(text(value)) || 0;
const timeOrNone = (value: unknown): number | null => (text(value) ? time(value) : null);

const STATES: readonly OpeningState[] = ['open', 'unreviewed', 'reviewed'];
const VERDICTS: readonly Verdict[] = ['justified', 'not-justified'];

export function readOpening(value: unknown): Opening {
  const o = object(value);
  return {
    id: text(o['id']),
    sealed: o['kind'] === 'seal',
    state: STATES.find((state) => state === o['state']) ?? 'unreviewed',
    by: text(o['by']),
    origin: text(o['origin']),
    patientId: text(o['patient_id']),
    issuer: text(o['issuer']),
    reason: text(o['reason']),
    since: time(o['since']),
    until: time(o['until']),
    ended: timeOrNone(o['ended']),
    endedBy: text(o['ended_by']),
    overdue: o['overdue'] === true,
    own: o['own'] === true,
    reviewed: timeOrNone(o['reviewed']),
    reviewer: text(o['reviewer']),
    verdict: VERDICTS.find((verdict) => verdict === o['verdict']) ?? null,
    remark: text(o['remark']),
  };
}

function readCounts(value: unknown): QueueCounts {
  const o = object(value);
  return { unreviewed: count(o['unreviewed']), overdue: count(o['overdue']), open: count(o['open']) };
}

const orNone = <T>(value: unknown, read: (value: Json) => T): T | null =>
  typeof value === 'object' && value !== null ? read(object(value)) : null;

export async function fetchStanding(tenant: string | null, options?: RequestOptions): Promise<Standing> {
  const o = object(await get(root(tenant), 'Looking what is open', readJson, options));
  return {
    now: time(o['now']),
    open: orNone(o['open'], readOpening),
    sealed: o['sealed'] === true,
    mayBreak: o['may_break'] === true,
    counts: orNone(o['counts'], readCounts),
  };
}

export interface Wanted {
  readonly patientId: string;
  readonly issuer: string;
  readonly reason: string;
}

export async function breakGlass(tenant: string | null, wanted: Wanted): Promise<Opening> {
  const body = { patient_id: wanted.patientId, issuer: wanted.issuer, reason: wanted.reason };
  return readOpening(await post(root(tenant), body, 'Breaking the glass', readJson));
}

export const endOpening = async (tenant: string | null, id: string): Promise<Opening> =>
  readOpening(await post(`${root(tenant)}/openings/${id}/end`, {}, 'Ending it', readJson));

export const reviewOpening = async (
  tenant: string | null,
  id: string,
  verdict: Verdict,
  remark: string,
): Promise<Opening> =>
  readOpening(await post(`${root(tenant)}/openings/${id}/review`, { verdict, remark }, 'Saving the verdict', readJson));

export async function fetchOpenings(
  tenant: string | null,
  which: Which,
  before: string | null,
  options?: RequestOptions,
): Promise<OpeningPage> {
  const asked = new URLSearchParams({ limit: '50' });
  if (which) asked.set('which', which);
  if (before) asked.set('before', before);
  const o = object(await get(`${root(tenant)}/openings?${asked}`, 'Loading the review queue', readJson, options));
  return {
    items: list(o['items']).map(readOpening),
    next: text(o['next_before']) || null,
    counts: readCounts(o['counts']),
    now: time(o['now']),
  };
}
