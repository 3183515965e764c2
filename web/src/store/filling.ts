/** In which order the slices of a volume are fetched, and when a plane through it is final (clinical 3). */
import type { Cut, Index } from '../geometry/volume';

/** Slices fetched onwards for each one that is fetched on the way back. */
const ONWARD = 2;

/**
 * All slices from the shown one outward: more in the direction of scrolling than against it.
 *
 * @param direction 1 or -1; 0 while nobody has scrolled: both sides alike.
 */
export function fillOrder(count: number, shown: number, direction: -1 | 0 | 1): number[] {
  const order = [shown];
  const step = direction === 0 ? 1 : direction;
  const onward = direction === 0 ? 1 : ONWARD;
  let [ahead, back] = [shown + step, shown - step];
  const inside = (k: number): boolean => k >= 0 && k < count;
  while (inside(ahead) || inside(back)) {
    for (let i = 0; i < onward && inside(ahead); i += 1, ahead += step) order.push(ahead);
    if (inside(back)) order.push(back);
    back -= step;
  }
  return order;
}

/** What is here of a slice; null = nothing. */
export type SliceState = { readonly final: boolean; readonly level: number } | null;

export interface Progress {
  /** Slices that the plane cuts through. */
  readonly touched: number;
  readonly finals: number;
  /** Slices of which nothing is here. */
  readonly missing: number;
  /** The coarsest of those that are here: 1/2^level of their size. */
  readonly level: number;
  /** Every slice that the plane cuts through is final. */
  readonly final: boolean;
}

/** The slices that a plane cuts through: its own where slices lie in it, else all. */
export const touchedBy = ({ through }: Cut, at: Index, slices: readonly SliceState[]): readonly SliceState[] =>
  through.axis === 2 ? [slices[at[2]] ?? null] : slices;

export function progressOf(cut: Cut, at: Index, slices: readonly SliceState[]): Progress {
  const touched = touchedBy(cut, at, slices);
  let [finals, missing, level] = [0, 0, 0];
  for (const slice of touched) {
    if (!slice) missing += 1;
    else if (slice.final) finals += 1;
    if (slice) level = Math.max(level, slice.level);
  }
  return { touched: touched.length, finals, missing, level, final: touched.length > 0 && finals === touched.length };
}
