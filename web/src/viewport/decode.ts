/** From the bytes of a frame to its samples: raw frames here, coded ones in the codec worker. */
import { getWebWorkerManager } from '@cornerstonejs/core';
import type { EncodedFrame } from '../client/dicomweb';
import { RequestFailure } from '../client/http';
import { withRgbMarker } from '../dicom-model/codestream';
import type { PixelLayout } from '../dicom-model/instance';
import type { Samples } from '../dicom-model/pixels';
import { startCodecs } from './library';

const RAW = new Set(['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.1.99']);
const JPEG_BASELINE = '1.2.840.10008.1.2.4.50';
const DECODE_DEADLINE = 60_000;

const VIDEO = /^1\.2\.840\.10008\.1\.2\.4\.10\d/;

/** Little-endian samples of an uncompressed frame, without copying when the bytes are aligned. */
export function rawSamples(bytes: Uint8Array, layout: PixelLayout): Samples {
  const { bitsAllocated, signed } = layout;
  if (bitsAllocated === 1) return bytes;
  if (bitsAllocated === 8) {
    return signed ? new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
  }
  const size = bitsAllocated / 8;
  if (size !== 2 && size !== 4) throw new Error(`${bitsAllocated} bits per sample are not supported`);
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const count = Math.floor(aligned.length / size);
  const { buffer, byteOffset } = aligned;
  if (size === 2) {
    return signed ? new Int16Array(buffer, byteOffset, count) : new Uint16Array(buffer, byteOffset, count);
  }
  return signed ? new Int32Array(buffer, byteOffset, count) : new Uint32Array(buffer, byteOffset, count);
}

interface DecodedFrame {
  readonly pixelData?: Samples;
  readonly rows?: number;
  readonly columns?: number;
}

function decodeInWorker(encoded: EncodedFrame, layout: PixelLayout): Promise<DecodedFrame> {
  startCodecs();
  const imageFrame = {
    samplesPerPixel: layout.samples,
    photometricInterpretation: layout.photometric,
    planarConfiguration: 0,
    rows: layout.rows,
    columns: layout.columns,
    bitsAllocated: layout.bitsAllocated,
    bitsStored: layout.bitsStored,
    pixelRepresentation: layout.signed ? 1 : 0,
  };
  // A copy of the frame alone: the part is a view into the whole answer, headers included.
  const own = encoded.bytes.slice();
  const plainRgb = encoded.syntax === JPEG_BASELINE && layout.photometric === 'RGB';
  const pixelData = plainRgb ? withRgbMarker(own) : own;
  const options = { preScale: { enabled: false } };
  const task = { imageFrame, transferSyntax: encoded.syntax, pixelData, options, decodeConfig: {} };
  return getWebWorkerManager().executeTask('dicomImageLoader', 'decodeTask', task) as Promise<DecodedFrame>;
}

function withDeadline<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer after ${ms / 1000} s`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

const advice = 'The stored object is unchanged; other images are not affected.';

/** Samples of a frame. @throws RequestFailure that names the transfer syntax and the reason. */
export async function decodeSamples(encoded: EncodedFrame, layout: PixelLayout): Promise<Samples> {
  if (VIDEO.test(encoded.syntax)) {
    throw new RequestFailure('This object is a video.', 'Videos are not played in this viewer yet.');
  }
  try {
    if (RAW.has(encoded.syntax)) return rawSamples(encoded.bytes, layout);
    const decoded = await withDeadline(decodeInWorker(encoded, layout), DECODE_DEADLINE);
    if (!decoded.pixelData) throw new Error('the decoder returned nothing');
    if (decoded.rows !== layout.rows || decoded.columns !== layout.columns) {
      throw new Error(`coded as ${decoded.columns} x ${decoded.rows}, header says ${layout.columns} x ${layout.rows}`);
    }
    return decoded.pixelData;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RequestFailure(`This image cannot be decoded (${encoded.syntax}: ${reason.slice(0, 160)}).`, advice);
  }
}
