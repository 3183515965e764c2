/** Cornerstone's libraries, started once: its codecs are used by every way of drawing. */
import { init } from '@cornerstonejs/core';
import { init as initCodecs } from '@cornerstonejs/dicom-image-loader';

let started = false;

/** Start the codecs, and what they stand on. */
export function startCodecs(): void {
  if (started) return;
  started = true;
  const small = matchMedia('(pointer: coarse)').matches;
  init({ isMobile: small, rendering: { webGlContextCount: small ? 1 : 4 } } as Parameters<typeof init>[0]);
  const cores = navigator.hardwareConcurrency || 2;
  initCodecs({ maxWebWorkers: Math.max(1, Math.min(4, cores - 1)) });
}
