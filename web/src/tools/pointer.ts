/** Mouse, pen and touch on a viewport. */
import type { Steered } from '../viewport/steered';

export type DragTool = 'window' | 'scroll' | 'zoom' | 'pan' | 'meet';

interface Finger {
  x: number;
  y: number;
}

const LEFT = 0;
const MIDDLE = 1;
const RIGHT = 2;
const WHEEL_STEP = 40;

/** Pixels of vertical drag for one slice: the whole stack in about the height of the viewport. */
const pixelsPerSlice = (element: HTMLElement, view: Steered): number =>
  Math.min(24, Math.max(3, (0.8 * element.clientHeight) / view.count));

/**
 * Left button or one finger: the chosen tool. Right: zoom. Middle: pan. Wheel: scroll, with Ctrl
 * (also the touchpad pinch) zoom. Two fingers: zoom and pan at once.
 *
 * @param tool asked at the start of each drag, so that a change acts on the next one.
 * @returns a function that takes the listeners away.
 */
export function bindPointer(element: HTMLElement, view: Steered, tool: () => DragTool): () => void {
  const fingers = new Map<number, Finger>();
  let current: DragTool = 'window';
  let leftover = 0;
  let wheel = 0;

  const fromCentre = (x: number, y: number): [number, number] => {
    const box = element.getBoundingClientRect();
    return [x - box.left - box.width / 2, y - box.top - box.height / 2];
  };

  const drag = (dx: number, dy: number): void => {
    if (current === 'window') view.dragWindow(dx, dy);
    else if (current === 'pan') view.panBy(dx, dy);
    else if (current === 'zoom') view.zoomBy(Math.exp(-dy / 150));
    else {
      leftover += dy;
      const step = pixelsPerSlice(element, view);
      const slices = Math.trunc(leftover / step);
      leftover -= slices * step;
      if (slices !== 0) view.scrollBy(slices);
    }
  };

  const pinch = (moved: Finger, event: PointerEvent): void => {
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return;
    const before = Math.hypot(moved.x - other.x, moved.y - other.y);
    const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    const middle = fromCentre((event.clientX + other.x) / 2, (event.clientY + other.y) / 2);
    if (before > 10 && after > 10) view.zoomBy(after / before, middle);
    view.panBy((event.clientX - moved.x) / 2, (event.clientY - moved.y) / 2);
  };

  const down = (event: PointerEvent): void => {
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    leftover = 0;
    if (event.button === RIGHT) current = 'zoom';
    else if (event.button === MIDDLE) current = 'pan';
    else if (event.button === LEFT) current = tool();
    if (current === 'meet' && fingers.size === 1) view.meetAt?.(fromCentre(event.clientX, event.clientY));
    if (event.button === MIDDLE) event.preventDefault();
  };

  const move = (event: PointerEvent): void => {
    const from = fingers.get(event.pointerId);
    if (!from) return;
    if (fingers.size === 2) pinch(from, event);
    else if (fingers.size === 1 && current === 'meet') view.meetAt?.(fromCentre(event.clientX, event.clientY));
    else if (fingers.size === 1) drag(event.clientX - from.x, event.clientY - from.y);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  };

  const up = (event: PointerEvent): void => {
    fingers.delete(event.pointerId);
  };

  const onWheel = (event: WheelEvent): void => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 40 : 1;
    const delta = event.deltaY * lines;
    if (event.ctrlKey) {
      view.zoomBy(Math.exp(-delta / 200), fromCentre(event.clientX, event.clientY));
      return;
    }
    // A touchpad sends many small steps, a mouse wheel few large ones: at least one slice each.
    wheel += delta;
    const whole = Math.abs(delta) >= WHEEL_STEP ? Math.sign(delta) : Math.trunc(wheel / WHEEL_STEP);
    if (whole !== 0) {
      wheel = 0;
      view.scrollBy(whole);
    }
  };

  const noMenu = (event: Event): void => event.preventDefault();
  const reset = (): void => view.fit();
  const life = new AbortController();
  const { signal } = life;
  element.addEventListener('pointerdown', down, { signal });
  element.addEventListener('pointermove', move, { signal });
  element.addEventListener('pointerup', up, { signal });
  element.addEventListener('pointercancel', up, { signal });
  element.addEventListener('wheel', onWheel, { signal, passive: false });
  element.addEventListener('contextmenu', noMenu, { signal });
  element.addEventListener('dblclick', reset, { signal });
  return () => life.abort();
}
