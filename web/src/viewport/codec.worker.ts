/** Decodes HTJ2K codestreams and prefixes of them, one after the other. */
import openjph, { type Codec } from '@cornerstonejs/codec-openjph/wasmjs';
import wasm from '@cornerstonejs/codec-openjph/wasm?url';
import { atLevel, enlarged, gridOver } from '../dicom-model/enlarge';
import type { Samples } from '../dicom-model/pixels';

export interface CodecTask {
  readonly id: number;
  readonly bytes: Uint8Array;
  /** 0 = the whole image; else the level that the prefix has in full. */
  readonly level: number;
}

export type CodecAnswer =
  | { readonly id: number; readonly samples: Samples; readonly rows: number; readonly columns: number }
  | { readonly id: number; readonly reason: string };

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<CodecTask>) => void) | null;
  postMessage(answer: CodecAnswer, transfer?: Transferable[]): void;
};

const loading: Promise<Codec> = openjph({ locateFile: () => wasm });
loading.catch(() => undefined);

/** The samples of the level, copied out of the memory of the module. */
function samplesOf(raw: Uint8Array, bits: number, signed: boolean): Samples {
  const { buffer } = raw.slice();
  if (bits > 16) return signed ? new Int32Array(buffer) : new Uint32Array(buffer);
  if (bits > 8) return signed ? new Int16Array(buffer) : new Uint16Array(buffer);
  return signed ? new Int8Array(buffer) : new Uint8Array(buffer);
}

function decode(codec: Codec, { bytes, level }: CodecTask): { samples: Samples; rows: number; columns: number } {
  // A decoder for each frame: one that failed keeps the picture of the frame before.
  const decoder = new codec.HTJ2KDecoder();
  try {
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    decoder.decodeSubResolution(level);
    const info = decoder.getFrameInfo();
    const full = { rows: info.height, columns: info.width };
    const samples = samplesOf(decoder.getDecodedBuffer(), info.bitsPerSample, info.isSigned);
    const there = atLevel(full, level);
    if (samples.length === 0 || samples.length !== there.rows * there.columns * info.componentCount) {
      throw new Error('the decoder returned another size');
    }
    if (level === 0) return { samples, ...full };
    return { samples: enlarged(samples, full, level, info.componentCount), ...gridOver(full, level) };
  } finally {
    decoder.delete();
  }
}

scope.onmessage = async ({ data }) => {
  try {
    const found = decode(await loading, data);
    scope.postMessage({ id: data.id, ...found }, [found.samples.buffer]);
  } catch (error) {
    scope.postMessage({ id: data.id, reason: error instanceof Error ? error.message : 'the decoder stopped' });
  }
};
