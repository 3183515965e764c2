/** What keys, toolbar and pointer do to whatever is on screen. */
import type { Vec2 } from '../geometry/vec';
import type { Placement } from '../geometry/view';
import type { Window } from '../geometry/window';

export interface Steered {
  /** Pictures that can be scrolled. */
  readonly count: number;
  /** Unit of the values on screen; "" when nothing reliable says it, and for colours. */
  readonly unit: string;
  scrollTo(index: number): void;
  scrollBy(step: number): void;
  /** @param at point that stays where it is, CSS pixels from the centre of the viewport. */
  zoomBy(factor: number, at?: Vec2): void;
  panBy(dx: number, dy: number): void;
  fit(): void;
  oneToOne(): void;
  dragWindow(dx: number, dy: number): void;
  setWindow(window: Window): void;
  resetWindow(): void;
  invert(): void;
  toggleSmooth(): void;
  reset(): void;
  // What follows not every view can do.
  place?(change: (p: Placement) => Placement): void;
  togglePlay?(): void;
  /** Let the planes meet at a point, CSS pixels from the centre of the viewport. */
  meetAt?(at: Vec2): void;
  /** The plane beside this one is steered from now on. */
  beside?(step: number): void;
}
