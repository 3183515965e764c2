/** Order of slices along the patient, and what that order says about spacing (clinical 4). */
import { planeNormal, type PlaneAxes } from './orientation';
import { dot, type Vec3 } from './vec';

export interface Positioned {
  readonly position: Vec3 | null;
  readonly axes: PlaneAxes | null;
  readonly instanceNumber: number | null;
  readonly frame: number;
  readonly sop: string;
}

export interface SliceOrder<T> {
  readonly items: readonly T[];
  /** What the order rests on; "number" is a fallback that the viewer must say aloud. */
  readonly basis: 'position' | 'number';
  /** Mean distance between neighbours in mm; null without positions or with one slice. */
  readonly spacing: number | null;
  /** Every distance within 1 % of the mean. */
  readonly uniform: boolean;
  /** Indices i such that a slice seems to be missing between i and i + 1. */
  readonly gaps: readonly number[];
}

/**
 * Head to foot, front to back, right to left: the sign that makes ascending values read so,
 * chosen by the dominant axis of the slice normal.
 */
function readingSign(normal: Vec3): number {
  const [x, y, z] = normal.map(Math.abs) as [number, number, number];
  if (z >= x && z >= y) return normal[2] > 0 ? -1 : 1;
  if (y >= x) return normal[1] > 0 ? 1 : -1;
  return normal[0] > 0 ? 1 : -1;
}

const byNumber = (a: Positioned, b: Positioned): number =>
  (a.instanceNumber ?? Infinity) - (b.instanceNumber ?? Infinity) ||
  a.sop.localeCompare(b.sop) ||
  a.frame - b.frame;

/** `Infinity - Infinity` is NaN, which falls through `||` to the next rule, as it should. */
export function sortByNumber<T extends Positioned>(items: readonly T[]): T[] {
  return [...items].sort(byNumber);
}

/**
 * Sort by ImagePositionPatient projected on the common normal; InstanceNumber when any slice
 * lacks position or orientation. Callers have already split by orientation.
 */
export function orderSlices<T extends Positioned>(items: readonly T[]): SliceOrder<T> {
  const axes = items[0]?.axes ?? null;
  if (!axes || items.some((item) => !item.position || !item.axes)) {
    return { items: sortByNumber(items), basis: 'number', spacing: null, uniform: false, gaps: [] };
  }
  const normal = planeNormal(axes);
  const sign = readingSign(normal);
  const along = items.map((item) => ({ item, at: sign * dot(item.position as Vec3, normal) }));
  along.sort((a, b) => (Math.abs(a.at - b.at) > 1e-3 ? a.at - b.at : byNumber(a.item, b.item)));
  const steps = along.slice(1).map((next, i) => next.at - (along[i]?.at ?? 0));
  return { items: along.map(({ item }) => item), basis: 'position', ...spacingOf(steps) };
}

function spacingOf(steps: readonly number[]): Pick<SliceOrder<unknown>, 'spacing' | 'uniform' | 'gaps'> {
  const real = steps.filter((step) => step > 1e-3);
  if (real.length === 0) return { spacing: null, uniform: false, gaps: [] };
  const sorted = [...real].sort((a, b) => a - b);
  const typical = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const gaps = steps.flatMap((step, i) => (step > 1.5 * typical ? [i] : []));
  const uniform = steps.every((step) => Math.abs(step - typical) <= 0.01 * typical);
  return { spacing: typical, uniform, gaps };
}
