/** Which side of the patient lies at each edge of the screen (PS3.3 C.7.6.1.1.1, C.7.6.2). */
import { screenAxes, type Placement } from './view';
import { combine, cross, dot, length, type Vec2, type Vec3 } from './vec';

export interface PlaneAxes {
  /** Direction of increasing column index (along a row), unit vector. */
  readonly row: Vec3;
  /** Direction of increasing row index (down a column), unit vector. */
  readonly column: Vec3;
}

export interface EdgeLabels {
  readonly left: string;
  readonly right: string;
  readonly top: string;
  readonly bottom: string;
}

/** A direction less than about 10 degrees off an axis is not mentioned. */
const OBLIQUE = 0.17;

const POSITIVE = ['L', 'P', 'H'] as const;
const NEGATIVE = ['R', 'A', 'F'] as const;

/** Axes from ImageOrientationPatient, or null when it does not hold two orthogonal directions. */
export function planeAxes(iop: readonly number[] | null | undefined): PlaneAxes | null {
  if (!iop || iop.length !== 6 || !iop.every(Number.isFinite)) return null;
  const row = iop.slice(0, 3) as unknown as Vec3;
  const column = iop.slice(3, 6) as unknown as Vec3;
  const [a, b] = [length(row), length(column)];
  if (Math.abs(a - 1) > 0.01 || Math.abs(b - 1) > 0.01 || Math.abs(dot(row, column)) > 0.01) {
    return null;
  }
  return { row, column };
}

export const planeNormal = (axes: PlaneAxes): Vec3 => cross(axes.row, axes.column);

/** "L", "PL", "AFR": the largest component first; "" for a vector without direction. */
export function directionLabel(v: Vec3): string {
  const size = length(v);
  if (!(size > 1e-6)) return '';
  return [0, 1, 2]
    .map((axis) => ({ axis, part: (v[axis] ?? 0) / size }))
    .filter(({ part }) => Math.abs(part) > OBLIQUE)
    .sort((p, q) => Math.abs(q.part) - Math.abs(p.part))
    .map(({ axis, part }) => (part > 0 ? POSITIVE[axis] : NEGATIVE[axis]))
    .join('');
}

const OPPOSITE: Record<string, string> = { L: 'R', R: 'L', A: 'P', P: 'A', H: 'F', F: 'H' };

/** The other side: "PL" -> "AR". Letters without an opposite stay out. */
export const oppositeLabel = (label: string): string =>
  [...label].map((letter) => OPPOSITE[letter] ?? '').join('');

/** PatientOrientation (0020,0020) as [row direction, column direction], or null. */
export function patientOrientation(values: readonly string[] | null | undefined): Vec2Labels | null {
  const [row, column] = values ?? [];
  if (!row || !column || !/^[LRAPHF]{1,3}$/.test(row) || !/^[LRAPHF]{1,3}$/.test(column)) {
    return null;
  }
  return [row, column];
}

export type Vec2Labels = readonly [string, string];

function labelTowards(axes: PlaneAxes | Vec2Labels, direction: Vec2): string {
  if ('row' in axes) {
    return directionLabel(combine(direction[0], axes.row, direction[1], axes.column));
  }
  const [along, label] = direction[0] !== 0 ? [direction[0], axes[0]] : [direction[1], axes[1]];
  return along > 0 ? label : oppositeLabel(label);
}

/** Labels for the four edges after flip and rotation; null means "orientation unknown". */
export function edgeLabels(
  axes: PlaneAxes | Vec2Labels | null,
  placement: Placement,
): EdgeLabels | null {
  if (!axes) return null;
  const { right, down } = screenAxes(placement);
  const towardsRight = labelTowards(axes, right);
  const towardsBottom = labelTowards(axes, down);
  return {
    right: towardsRight,
    left: oppositeLabel(towardsRight),
    bottom: towardsBottom,
    top: oppositeLabel(towardsBottom),
  };
}
