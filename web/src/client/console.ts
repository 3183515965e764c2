/** The console API of the archive: study list, study detail, tenants. Answers are checked here. */
import { count, list, object, text } from './checked';
import { get, readJson, RequestFailure, type RequestOptions } from './http';
import { consoleRoot } from './place';

export interface Tenant {
  readonly name: string;
  readonly label: string;
  readonly demo: boolean;
}

export interface StudyItem {
  readonly study: string;
  readonly patientName: string;
  readonly patientId: string;
  readonly issuer: string;
  readonly birthDate: string;
  readonly sex: string;
  readonly date: string;
  readonly time: string;
  readonly accession: string;
  readonly description: string;
  readonly modalities: readonly string[];
  readonly series: number;
  readonly instances: number;
  readonly held: number;
  readonly rejected: number;
  readonly outside: boolean;
  readonly patientChanged: boolean;
  readonly institution: string;
  readonly thumbnail: string | null;
  /** Its series as far as they were told with the list: UID, modality, number, images. */
  readonly hints: readonly SeriesItem[];
}

export interface SeriesItem {
  readonly series: string;
  readonly modality: string;
  readonly number: number | null;
  readonly description: string;
  readonly bodyPart: string;
  readonly instances: number;
  readonly thumbnail: string | null;
}

export interface StudyDetail extends StudyItem {
  readonly seriesItems: readonly SeriesItem[];
}

export interface StudyPage {
  readonly items: readonly StudyItem[];
  readonly next: string | null;
  readonly total: number | null;
}

export interface StudyQuery {
  readonly text: string;
  readonly modality: string;
  readonly from: string;
  readonly to: string;
  readonly sort: string;
}

/** Only addresses on this origin are ever loaded. */
const localUrl = (value: unknown): string | null =>
  typeof value === 'string' && /^\/(?!\/)/.test(value) ? value : null;

function studyItem(value: unknown): StudyItem {
  const o = object(value);
  return {
    study: text(o['study_uid']),
    patientName: text(o['patient_name']),
    patientId: text(o['patient_id']),
    issuer: text(o['issuer']),
    birthDate: text(o['birth_date']).replaceAll('-', ''),
    sex: text(o['sex']),
    date: text(o['study_date']).replaceAll('-', ''),
    time: text(o['study_time']),
    accession: text(o['accession']),
    description: text(o['description']),
    modalities: list(o['modalities']).map(text).filter(Boolean),
    series: count(o['series']) || list(o['series']).length,
    instances: count(o['instances']),
    held: count(o['held']),
    rejected: count(o['rejected']),
    outside: o['outside'] === true,
    patientChanged: o['patient_changed'] === true,
    institution: text(o['institution']),
    thumbnail: localUrl(o['thumbnail']),
    hints: list(o['hints']).map(seriesItem).filter((s) => s.series),
  };
}

function seriesItem(value: unknown): SeriesItem {
  const o = object(value);
  const number = Number(o['number']);
  return {
    series: text(o['series_uid']),
    modality: text(o['modality']),
    number: o['number'] === null || o['number'] === '' || !Number.isFinite(number) ? null : number,
    description: text(o['description']),
    bodyPart: text(o['body_part']),
    instances: count(o['instances']),
    thumbnail: localUrl(o['thumbnail']),
  };
}

export async function fetchTenants(options?: RequestOptions): Promise<Tenant[]> {
  const body = await get('/api/v1/tenants', 'Loading the tenants', readJson, options);
  return list(body).map((value) => {
    const o = object(value);
    return { name: text(o['name']), label: text(o['label']) || text(o['name']), demo: o['demo'] === true };
  });
}

function studyParameters(query: StudyQuery, cursor: string | null): URLSearchParams {
  const parameters = new URLSearchParams({ sort: query.sort, limit: '50' });
  if (query.text) parameters.set('q', query.text);
  if (query.modality) parameters.set('modality', query.modality);
  if (query.from) parameters.set('from', query.from.replaceAll('-', ''));
  if (query.to) parameters.set('to', query.to.replaceAll('-', ''));
  if (cursor) parameters.set('cursor', cursor);
  return parameters;
}

/** One page of the study list. @throws RequestFailure */
export async function fetchStudies(
  tenant: string | null,
  query: StudyQuery,
  cursor: string | null,
  options?: RequestOptions,
): Promise<StudyPage> {
  const url = `${consoleRoot(tenant)}/studies?${studyParameters(query, cursor)}`;
  const body = object(await get(url, 'Loading the study list', readJson, options));
  return {
    items: list(body['items']).map(studyItem).filter((item) => item.study),
    next: text(body['next_cursor']) || null,
    total: typeof body['total'] === 'number' ? body['total'] : null,
  };
}

/** A study with its series. @throws RequestFailure, also when the answer is no study. */
export async function fetchStudy(
  tenant: string | null,
  study: string,
  options?: RequestOptions,
): Promise<StudyDetail> {
  const url = `${consoleRoot(tenant)}/studies/${study}`;
  const body = await get(url, 'Opening the study', readJson, options);
  const item = studyItem(body);
  if (item.study !== study) {
    throw new RequestFailure('The server answered with another study.', 'Go back and open it again.');
  }
  const series = list(object(body)['series']).map(seriesItem).filter((s) => s.series);
  return { ...item, seriesItems: series };
}
