/** With which means images are drawn here, found out once. */
import { RequestFailure } from '../client/http';
import { CanvasSurface } from './canvas-surface';
import { GlSurface } from './gl-surface';
import type { Drawn, Surface } from './surface';

export type Means = 'graphics card' | 'software';

/** For tests and support: `localStorage['lightwell.drawing']` is 'gl' or 'canvas'. */
const CHOICE = 'lightwell.drawing';

/** Drivers that compute on the processor what they pretend to draw. */
const PRETENDERS = /swiftshader|llvmpipe|softpipe|basic render|software/i;

let found: Means | null = null;

function chosen(): Means | null {
  try {
    const choice = localStorage.getItem(CHOICE);
    return choice === 'gl' ? 'graphics card' : choice === 'canvas' ? 'software' : null;
  } catch {
    return null; // storage is forbidden to this page
  }
}

/** The name that the driver gives itself; null where there is no WebGL 2. */
function driver(): string | null {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return null;
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return name;
}

export function meansOfDrawing(): Means {
  if (found) return found;
  const name = driver();
  found = name === null ? 'software' : (chosen() ?? (PRETENDERS.test(name) ? 'software' : 'graphics card'));
  return found;
}

/** A surface for a viewport. @throws RequestFailure when the browser cannot draw at all */
export function openSurface(element: HTMLDivElement, id: string, drawn: Drawn): Surface {
  try {
    return meansOfDrawing() === 'software' ? new CanvasSurface(element, drawn) : new GlSurface(element, id, drawn);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown reason';
    throw new RequestFailure(`The viewport could not start (${why}).`, 'Reload the page, or use another browser.');
  }
}
