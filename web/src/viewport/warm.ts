/** Everything that is slow the first time, done before the first image is wanted. */
import { Enums, type Types } from '@cornerstonejs/core';
import { codecPool } from './codec-pool';
import { cornerstoneImage, forgetImage, renderingEngine } from './engine';
import type { LoadedFrame } from './images';

const ID = 'warm';
const SIDE = 16;

/** A grey patch: it makes the browser build its shaders. */
function patch(): LoadedFrame {
  const values = Int16Array.from({ length: SIDE * SIDE }, (_, i) => i);
  const size = { rows: SIDE, columns: SIDE };
  const frame = { sop: ID, frame: 1, spacing: [1, 1], aspect: 1, frameOfReference: '', instance: { layout: size } };
  const pixels = { kind: 'grey', values, min: 0, max: values.length, unit: '', scaled: false, isPadding: () => false };
  return { frame, pixels, size, level: 0, final: true, voiCurve: null, syntax: '', bytes: 0 } as unknown as LoadedFrame;
}

function drawOnce(): void {
  const engine = renderingEngine();
  const element = document.createElement('div');
  Object.assign(element.style, { position: 'fixed', left: '-1000px', width: '64px', height: '64px', visibility: 'hidden' });
  document.body.append(element);
  const done = (): void => {
    engine.disableElement(ID);
    element.remove();
    forgetImage(image.imageId);
  };
  engine.enableElement({ viewportId: ID, type: Enums.ViewportType.STACK, element, defaultOptions: { background: [0, 0, 0] } });
  const viewport = engine.getViewport(ID) as Types.IStackViewport;
  const image = cornerstoneImage(patch());
  element.addEventListener(Enums.Events.IMAGE_RENDERED, done, { once: true });
  viewport.renderImageObject(image);
  viewport.render();
}

let warm = false;

/** Start codecs and drawing, once. Whatever cannot start says so when it is needed. */
export function warmUp(): void {
  if (warm) return;
  warm = true;
  codecPool().warm();
  drawOnce();
}
