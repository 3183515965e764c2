/** Everything one can do to the active viewport or plane: one list for toolbar, keyboard and help. */
import { flipHorizontal, flipVertical, rotateClockwise } from '../geometry/view';
import { CT_PRESETS } from '../geometry/window';
import type { ViewerStore } from '../store/viewer';
import type { Steered } from '../viewport/steered';

export interface Action {
  readonly name: string;
  readonly keys: readonly string[];
  readonly run: (view: Steered | null, viewer: ViewerStore) => void;
}

/** Presets fit only Hounsfield units (clinical 6). */
export function applyPreset(view: Steered | null, index: number): void {
  const preset = CT_PRESETS[index];
  if (!preset || view?.unit !== 'HU') return;
  view.setWindow({ centre: preset.centre, width: preset.width, shape: 'LINEAR' });
}

/** The plane beside, where there are planes; else the viewport beside. */
function beside(view: Steered | null, viewer: ViewerStore, step: number): void {
  if (view?.beside) view.beside(step);
  else viewer.activate(viewer.state.value.active + step);
}

export const ACTIONS = {
  next: { name: 'Next image', keys: ['ArrowDown'], run: (v) => v?.scrollBy(1) },
  previous: { name: 'Previous image', keys: ['ArrowUp'], run: (v) => v?.scrollBy(-1) },
  first: { name: 'First image', keys: ['Home'], run: (v) => v?.scrollTo(0) },
  last: { name: 'Last image', keys: ['End'], run: (v) => v?.scrollTo(v.count - 1) },
  nextSeries: { name: 'Next series', keys: ['PageDown'], run: (_, s) => s.stepStack(1) },
  previousSeries: { name: 'Previous series', keys: ['PageUp'], run: (_, s) => s.stepStack(-1) },
  nextPane: {
    name: 'Next viewport',
    keys: ['ArrowRight'],
    run: (v, s) => beside(v, s, 1),
  },
  previousPane: {
    name: 'Previous viewport',
    keys: ['ArrowLeft'],
    run: (v, s) => beside(v, s, -1),
  },
  zoomIn: { name: 'Zoom in', keys: ['+'], run: (v) => v?.zoomBy(1.25) },
  zoomOut: { name: 'Zoom out', keys: ['-'], run: (v) => v?.zoomBy(0.8) },
  fit: { name: 'Fit', keys: ['='], run: (v) => v?.fit() },
  oneToOne: { name: 'One to one', keys: ['o'], run: (v) => v?.oneToOne() },
  invert: { name: 'Invert', keys: ['i'], run: (v) => v?.invert() },
  flipHorizontal: { name: 'Flip left-right', keys: ['h'], run: (v) => v?.place?.(flipHorizontal) },
  flipVertical: { name: 'Flip top-bottom', keys: ['v'], run: (v) => v?.place?.(flipVertical) },
  rotate: { name: 'Rotate', keys: ['r'], run: (v) => v?.place?.(rotateClockwise) },
  smooth: { name: 'Smooth pixels', keys: ['s'], run: (v) => v?.toggleSmooth() },
  reset: { name: 'Reset', keys: [' '], run: (v) => v?.reset() },
  cine: { name: 'Play', keys: ['c'], run: (v) => v?.togglePlay?.() },
  window: { name: 'Window', keys: ['w'], run: (_, s) => s.setTool('window') },
  zoom: { name: 'Zoom', keys: ['z'], run: (_, s) => s.setTool('zoom') },
  pan: { name: 'Pan', keys: ['p'], run: (_, s) => s.setTool('pan') },
  scroll: { name: 'Scroll', keys: ['g'], run: (_, s) => s.setTool('scroll') },
  meet: { name: 'Crosshair', keys: ['x'], run: (_, s) => s.setTool('meet') },
  mpr: { name: 'Three planes (MPR)', keys: ['m'], run: (_, s) => s.toggleMpr() },
} satisfies Record<string, Action>;

export type ActionName = keyof typeof ACTIONS;

const BY_KEY = new Map<string, Action>(
  Object.values<Action>(ACTIONS).flatMap((action) => action.keys.map((key) => [key, action] as const)),
);

const WRITES = new Set(['INPUT', 'SELECT', 'TEXTAREA']);

/** True when the keyboard belongs to a form field; the image slider gives its keys to the viewer. */
export const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && WRITES.has(target.tagName) && target.getAttribute('type') !== 'range';

/** Run the action of a key; true when there was one. */
export function runKey(event: KeyboardEvent, view: Steered | null, viewer: ViewerStore): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return false;
  const onButton = event.target instanceof HTMLElement && event.target.closest('button, a, summary');
  if (onButton && (event.key === ' ' || event.key === 'Enter')) return false;
  const preset = CT_PRESETS.findIndex((p) => p.key === event.key);
  if (preset >= 0) {
    applyPreset(view, preset);
    return true;
  }
  const action = BY_KEY.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  action?.run(view, viewer);
  return action !== undefined;
}
