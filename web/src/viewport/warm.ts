/** Everything that is slow the first time, done before the first image is wanted. */
import { Enums, type Types } from '@cornerstonejs/core';
import { codecPool } from './codec-pool';
import { meansOfDrawing } from './drawing';
import { cornerstoneImage, forgetImage, renderingEngine } from './engine';
import type { LoadedFrame } from './images';
import { startCodecs } from './library';

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

/** The skeleton of the viewer's page, unseen: only its own style sheet knows how large a pane will be. */
function rehearsal(): { page: HTMLElement; surface: HTMLDivElement } {
  const page = document.createElement('div');
  page.className = 'viewer';
  page.ariaHidden = 'true';
  Object.assign(page.style, { position: 'fixed', inset: '0', zIndex: '-1', visibility: 'hidden', pointerEvents: 'none' });
  const surface = document.createElement('div');
  surface.className = 'surface';
  const pane = document.createElement('section');
  pane.className = 'pane';
  pane.append(surface);
  const panes = document.createElement('main');
  panes.className = 'panes panes-1x1';
  panes.append(pane);
  const footer = document.createElement('footer');
  footer.className = 'viewer-footer';
  footer.textContent = '\u00a0';
  page.append(panes, footer);
  return { page, surface };
}

/** Draw at the size of a pane: another size later would cost a drawing buffer of its own. */
function drawOnce(): void {
  const engine = renderingEngine();
  const { page, surface } = rehearsal();
  document.body.append(page);
  engine.enableElement({ viewportId: ID, type: Enums.ViewportType.STACK, element: surface, defaultOptions: { background: [0, 0, 0] } });
  const viewport = engine.getViewport(ID) as Types.IStackViewport;
  const image = cornerstoneImage(patch());
  const done = (): void => {
    engine.disableElement(ID);
    page.remove();
    forgetImage(image.imageId);
  };
  surface.addEventListener(Enums.Events.IMAGE_RENDERED, done, { once: true });
  viewport.renderImageObject(image);
  viewport.render();
}

let warm = false;

/** Start codecs and drawing, once. Whatever cannot start says so when it is needed. */
export function warmUp(): void {
  if (warm) return;
  warm = true;
  codecPool().warm();
  if (meansOfDrawing() === 'graphics card') drawOnce();
  else startCodecs();
}
