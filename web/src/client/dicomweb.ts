/** Metadata, frames and bulk data over DICOMweb (PS3.18). */
import { Dataset, type Binary } from '../dicom-model/dataset';
import type { Frame } from '../dicom-model/instance';
import { get, readJson, RequestFailure, type RequestOptions } from './http';
import { firstPart, parameter } from './multipart';
import { dicomwebRoot } from './place';

export interface EncodedFrame {
  readonly bytes: Uint8Array;
  readonly syntax: string;
}

const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';

/** Syntax of a part that does not name it (PS3.18 table 8.7.3-2, default of each media type). */
const SYNTAX_OF_TYPE: Record<string, string> = {
  'application/octet-stream': EXPLICIT_LITTLE_ENDIAN,
  'image/jpeg': '1.2.840.10008.1.2.4.50',
  'image/dicom-rle': '1.2.840.10008.1.2.5',
  'image/jls': '1.2.840.10008.1.2.4.80',
  'image/jp2': '1.2.840.10008.1.2.4.90',
  'image/jphc': '1.2.840.10008.1.2.4.201',
  'image/jxl': '1.2.840.10008.1.2.4.110',
};

/** Transfer syntax of a frame part, or null for a media type that is not a single image. */
export function syntaxOfPart(contentType: string): string | null {
  const type = (contentType.split(';')[0] ?? '').trim().toLowerCase();
  return parameter(contentType, 'transfer-syntax') ?? SYNTAX_OF_TYPE[type] ?? null;
}

/** Metadata of every instance of a series. @throws RequestFailure */
export async function fetchSeriesMetadata(
  tenant: string | null,
  study: string,
  series: string,
  options?: RequestOptions,
): Promise<Dataset[]> {
  const url = `${dicomwebRoot(tenant)}/studies/${study}/series/${series}/metadata`;
  const accept = 'application/dicom+json';
  const body = await get(url, 'Loading the series', readJson, { deadline: 60_000, ...options, accept });
  return Array.isArray(body) ? body.map((item) => Dataset.of(item)) : [];
}

const FRAME_ACCEPT = 'multipart/related; type="application/octet-stream"; transfer-syntax=*';

const frameUrl = (tenant: string | null, frame: Frame): string => {
  const { study, series, sop } = frame.instance;
  return `${dicomwebRoot(tenant)}/studies/${study}/series/${series}/instances/${sop}/frames/${frame.frame}`;
};

/** Bytes of one frame as the archive keeps them. @throws RequestFailure */
export async function fetchFrame(
  tenant: string | null,
  frame: Frame,
  signal?: AbortSignal,
): Promise<EncodedFrame> {
  const what = `Loading image ${frame.instanceNumber ?? ''}`.trim();
  return get(frameUrl(tenant, frame), what, readFrame, { accept: FRAME_ACCEPT, deadline: 60_000, signal });
}

async function readFrame(response: Response): Promise<EncodedFrame> {
  const data = new Uint8Array(await response.arrayBuffer());
  const part = firstPart(response.headers.get('content-type') ?? '', data);
  const syntax = syntaxOfPart(part.contentType);
  if (!syntax) {
    const type = part.contentType.split(';')[0] || 'no media type';
    throw new RequestFailure(`The server sent ${type} instead of an image.`, 'This object cannot be shown as a picture here.');
  }
  return { bytes: part.body, syntax };
}

export const HTJ2K_RPCL = '1.2.840.10008.1.2.4.202';

/** Part of a stored codestream: where it begins, and how long the whole is where the server says so. */
export interface CodestreamPart {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly total: number;
}

async function readCodestream(response: Response): Promise<CodestreamPart> {
  const type = response.headers.get('content-type') ?? '';
  if (syntaxOfPart(type) !== HTJ2K_RPCL) throw new RequestFailure('The image is not stored in parts.', 'It is loaded as a whole.');
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (response.status !== 206) return { bytes, from: 0, total: bytes.length };
  const said = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  const [from, last, total] = (said ?? []).slice(1).map(Number);
  if (from === undefined || last === undefined || total === undefined || last - from + 1 !== bytes.length || last >= total) {
    throw new RequestFailure('The server sent another part of the image.', 'It is loaded as a whole.');
  }
  return { bytes, from, total };
}

/**
 * Stored codestream of a settled frame, from byte `from` up to `to` (not included; null = the end).
 *
 * @throws RequestFailure, also when the frame is not kept as a codestream.
 */
export async function fetchCodestream(
  tenant: string | null,
  frame: Frame,
  [from, to]: readonly [number, number | null],
  options?: RequestOptions,
): Promise<CodestreamPart> {
  const accept = `image/jphc; transfer-syntax=${HTJ2K_RPCL}`;
  const all = from === 0 && to === null;
  const range = all ? undefined : `bytes=${from}-${to === null ? '' : to - 1}`;
  const what = `Loading image ${frame.instanceNumber ?? ''}`.trim();
  return get(frameUrl(tenant, frame), what, readCodestream, { deadline: 60_000, ...options, accept, range });
}

function inlineBytes(base64: string): Uint8Array {
  const text = atob(base64);
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** Bytes of a binary attribute; addresses on another origin are refused. */
export async function fetchBinary(binary: Binary, options?: RequestOptions): Promise<Uint8Array> {
  if (binary.kind === 'inline') return inlineBytes(binary.base64);
  const url = new URL(binary.uri, location.href);
  if (url.origin !== location.origin) {
    throw new RequestFailure('A lookup table lies on another server.', 'It was not fetched; tell the administrator.');
  }
  const accept = 'multipart/related; type="application/octet-stream"';
  return get(url.href, 'Loading a lookup table', readBulk, { ...options, accept });
}

async function readBulk(response: Response): Promise<Uint8Array> {
  const data = new Uint8Array(await response.arrayBuffer());
  return firstPart(response.headers.get('content-type') ?? '', data).body;
}
