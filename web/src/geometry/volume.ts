/**
 * A volume of parallel slices and its three planes, named by the axes of the patient, however the slices were
 * recorded (PS3.3 C.7.6.2.1.1: x to the left, y to the back, z to the head). Positions are in mm.
 */
import { planeNormal, type PlaneAxes } from './orientation';
import { combine, dot, length, normalise, type Vec2, type Vec3 } from './vec';
import type { ImageExtent } from './view';

export type PlaneName = 'axial' | 'coronal' | 'sagittal';

export const PLANES: readonly PlaneName[] = ['axial', 'coronal', 'sagittal'];

/** 0 along a row of the slices, 1 down a column, 2 from slice to slice. */
export type IndexAxis = 0 | 1 | 2;

/** A voxel: column, row and slice, from 0. */
export type Index = readonly [column: number, row: number, slice: number];

export interface GridAxis {
  /** Where in the patient the index grows to; a unit vector. */
  readonly direction: Vec3;
  /** mm between neighbours. */
  readonly spacing: number;
  readonly count: number;
}

export interface VolumeGrid {
  /** Centre of the first voxel. */
  readonly origin: Vec3;
  readonly axes: readonly [GridAxis, GridAxis, GridAxis];
  /** The index axis that lies along the patient's x, y and z. */
  readonly along: readonly [IndexAxis, IndexAxis, IndexAxis];
  /** Largest angle between an axis of the volume and that of the patient, degrees. */
  readonly oblique: number;
}

export interface PlacedSlice {
  /** Centre of the first pixel. */
  readonly position: Vec3;
  readonly axes: PlaneAxes;
}

/** Why slices are no volume; indices from 0, in the order of the slices. */
export type Irregularity =
  | { readonly kind: 'few'; readonly count: number }
  | { readonly kind: 'turned'; readonly slice: number }
  | { readonly kind: 'doubled'; readonly slice: number }
  | { readonly kind: 'gap'; readonly after: number; readonly missing: number; readonly places: number }
  | { readonly kind: 'uneven'; readonly least: number; readonly most: number }
  | { readonly kind: 'tilted'; readonly degrees: number }
  | { readonly kind: 'shifted'; readonly slice: number }
  | { readonly kind: 'oblique'; readonly degrees: number };

/** With fewer nobody can tell that they are evenly spaced. */
const FEWEST = 3;
/** Components of directions that differ by less are the same: 0.06 degrees. */
const SAME_DIRECTION = 1e-3;
const SAME_PLACE = 1e-3;
/** Spacing is even within 1 % (clinical 4); small errors must not add up either. */
const EVEN = 0.01;
const DRIFT = 0.1;
/** A slice may lie this part of a pixel beside its place. */
const ASIDE = 0.5;
/** Farther off, "axial" would no longer say what is seen. */
const MOST_OBLIQUE = 30;

const degrees = (radians: number): number => (radians * 180) / Math.PI;
const minus = (a: Vec3, b: Vec3): Vec3 => combine(1, a, -1, b);

const sameAxes = (a: PlaneAxes, b: PlaneAxes): boolean =>
  [minus(a.row, b.row), minus(a.column, b.column)].every((off) => off.every((x) => Math.abs(x) <= SAME_DIRECTION));

/** What is uneven in rising places along the normal, or null. */
function unevenness(places: readonly number[]): Irregularity | null {
  const steps = places.slice(1).map((place, i) => place - (places[i] as number));
  const doubled = steps.findIndex((step) => step <= SAME_PLACE);
  if (doubled >= 0) return { kind: 'doubled', slice: doubled };
  const sorted = [...steps].sort((a, b) => a - b);
  const typical = sorted[Math.floor(sorted.length / 2)] as number;
  const gaps = steps.flatMap((step, i) => (step > 1.5 * typical ? [i] : []));
  const [after] = gaps;
  if (after !== undefined) {
    return { kind: 'gap', after, missing: Math.round((steps[after] as number) / typical) - 1, places: gaps.length };
  }
  const mean = ((places[places.length - 1] as number) - (places[0] as number)) / steps.length;
  const even = steps.every((step) => Math.abs(step - mean) <= EVEN * mean);
  const inPlace = places.every((place, k) => Math.abs(place - (places[0] as number) - k * mean) <= DRIFT * mean);
  return even && inPlace ? null : { kind: 'uneven', least: sorted[0] as number, most: sorted[sorted.length - 1] as number };
}

/** Slices that do not follow each other along their normal: a tilted gantry, or single ones moved aside. */
function asideness(asides: readonly Vec3[], thickness: number, pixel: number): Irregularity | null {
  const worst = asides.findIndex((aside) => length(aside) > ASIDE * pixel);
  if (worst < 0) return null;
  const last = asides[asides.length - 1] as Vec3;
  const steady = asides.every((aside, k) => length(combine(1, aside, -k / (asides.length - 1), last)) <= ASIDE * pixel);
  return steady ? { kind: 'tilted', degrees: degrees(Math.atan2(length(last), thickness)) } : { kind: 'shifted', slice: worst };
}

/** The patient's axis that a direction lies along most, and the angle between them. */
function nearest(direction: Vec3): { readonly axis: number; readonly angle: number } {
  const parts = direction.map(Math.abs);
  const axis = parts.indexOf(Math.max(...parts));
  return { axis, angle: degrees(Math.acos(Math.min(1, parts[axis] as number))) };
}

/** Which index axis lies along which axis of the patient. */
function alignment(directions: readonly Vec3[]): Pick<VolumeGrid, 'along' | 'oblique'> | Irregularity {
  const found = directions.map(nearest);
  const oblique = Math.max(...found.map(({ angle }) => angle));
  const along = [0, 1, 2].map((patient) => found.findIndex(({ axis }) => axis === patient));
  if (oblique > MOST_OBLIQUE || along.includes(-1)) return { kind: 'oblique', degrees: oblique };
  return { along: along as unknown as VolumeGrid['along'], oblique };
}

/**
 * The grid of slices in the order of space (`orderSlices`), or why there is none. The distance of slices comes
 * from their positions alone; a thickness is not asked.
 *
 * @param size pixels of a slice, and mm between columns, then rows.
 */
export function gridOf(slices: readonly PlacedSlice[], size: ImageExtent): VolumeGrid | Irregularity {
  const [first] = slices;
  if (!first || slices.length < FEWEST) return { kind: 'few', count: slices.length };
  const turned = slices.findIndex((slice) => !sameAxes(slice.axes, first.axes));
  if (turned >= 0) return { kind: 'turned', slice: turned };
  const directions = [first.axes.row, first.axes.column, planeNormal(first.axes)].map(normalise) as Vec3[];
  const [row, column, normal] = directions as [Vec3, Vec3, Vec3];
  const offsets = slices.map(({ position }) => minus(position, first.position));
  const end = offsets[offsets.length - 1] as Vec3;
  const onward: Vec3 = dot(end, normal) < 0 ? combine(-1, normal, 0, normal) : normal;
  const places = offsets.map((offset) => dot(offset, onward));
  const depth = places[places.length - 1] as number;
  const asides = offsets.map((offset, k) => combine(1, offset, -(places[k] as number), onward));
  const wrong = unevenness(places) ?? asideness(asides, depth, Math.min(...size.spacing));
  if (wrong) return wrong;
  const aligned = alignment([row, column, onward]);
  if ('kind' in aligned) return aligned;
  return {
    origin: first.position,
    axes: [
      { direction: row, spacing: size.spacing[0], count: size.columns },
      { direction: column, spacing: size.spacing[1], count: size.rows },
      { direction: onward, spacing: depth / (slices.length - 1), count: slices.length },
    ],
    ...aligned,
  };
}

/** One direction of a plane on the screen, as an index axis of the volume. */
export interface CutAxis {
  readonly axis: IndexAxis;
  /** The index falls in this direction. */
  readonly reversed: boolean;
  readonly count: number;
}

/** How a plane lies in its volume. */
export interface Cut {
  readonly name: PlaneName;
  /** To the right, to the bottom, and in the direction of scrolling. */
  readonly across: CutAxis;
  readonly down: CutAxis;
  readonly through: CutAxis;
  /** Directions in the patient to the right and to the bottom of the screen. */
  readonly axes: PlaneAxes;
  /** Across the plane, towards L, P or H. */
  readonly normal: Vec3;
  readonly extent: ImageExtent;
}

type Way = readonly [patientAxis: 0 | 1 | 2, sign: 1 | -1];

/** As planes are looked at: from the feet, from the front, from the left; scrolled as `orderSlices` orders. */
const VIEWS: Record<PlaneName, { readonly across: Way; readonly down: Way; readonly through: Way }> = {
  axial: { across: [0, 1], down: [1, 1], through: [2, -1] },
  coronal: { across: [0, 1], down: [2, -1], through: [1, 1] },
  sagittal: { across: [1, 1], down: [2, -1], through: [0, 1] },
};

/** A direction of the volume, turned so that its part along the patient's axis has this sign. */
function turnedTo(grid: VolumeGrid, [patient, sign]: Way): { readonly cut: CutAxis; readonly direction: Vec3 } {
  const axis = grid.along[patient];
  const { direction, count } = grid.axes[axis];
  const reversed = direction[patient] * sign < 0;
  return { cut: { axis, reversed, count }, direction: reversed ? combine(-1, direction, 0, direction) : direction };
}

export function cutOf(grid: VolumeGrid, name: PlaneName): Cut {
  const view = VIEWS[name];
  const [across, down, through] = [turnedTo(grid, view.across), turnedTo(grid, view.down), turnedTo(grid, view.through)];
  const spacing: Vec2 = [grid.axes[across.cut.axis].spacing, grid.axes[down.cut.axis].spacing];
  return {
    name,
    across: across.cut,
    down: down.cut,
    through: through.cut,
    axes: { row: across.direction, column: down.direction },
    normal: turnedTo(grid, [view.through[0], 1]).direction,
    extent: { columns: across.cut.count, rows: down.cut.count, spacing },
  };
}

/** Places along a cut's axis, counted in its direction, to indices of the volume, and back. */
const turn = ({ reversed, count }: CutAxis, n: number): number => (reversed ? count - 1 - n : n);

const within = (n: number, count: number): number => Math.min(Math.max(0, Math.round(n)), count - 1);

const withIndex = (at: Index, axis: IndexAxis, n: number): Index => at.map((old, i) => (i === axis ? n : old)) as unknown as Index;

export const middleOf = (grid: VolumeGrid): Index => grid.axes.map(({ count }) => Math.floor(count / 2)) as unknown as Index;

/** Which of the parallel planes goes through a voxel, counted from 0 in the direction of scrolling. */
export const numberOf = ({ through }: Cut, at: Index): number => turn(through, at[through.axis]);

/** The voxel under the same point of another parallel plane; beyond the ends it is that of the last. */
export const atNumber = ({ through }: Cut, at: Index, number: number): Index =>
  withIndex(at, through.axis, turn(through, within(number, through.count)));

/** Where a voxel lies in the picture of its plane: column and row, from 0. */
export const placeOn = ({ across, down }: Cut, at: Index): Vec2 => [turn(across, at[across.axis]), turn(down, at[down.axis])];

/** The voxel nearest to a place in the picture of a plane. */
export function atPlace({ across, down }: Cut, at: Index, [column, row]: Vec2): Index {
  const moved = withIndex(at, across.axis, turn(across, within(column, across.count)));
  return withIndex(moved, down.axis, turn(down, within(row, down.count)));
}

/** Centre of a voxel in the patient. */
export const pointOf = ({ origin, axes }: VolumeGrid, at: Index): Vec3 =>
  axes.reduce<Vec3>((point, { direction, spacing }, i) => combine(1, point, (at[i] as number) * spacing, direction), origin);

/** mm from the patient's origin to the plane through a voxel, rising towards L, P or H. */
export const positionOf = (grid: VolumeGrid, { normal }: Cut, at: Index): number => dot(pointOf(grid, at), normal);
