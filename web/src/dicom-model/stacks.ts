/** Splitting a series into stacks that can be scrolled as one thing (clinical 4). */
import { orderSlices, sortByNumber, type SliceOrder } from '../geometry/sorting';
import type { Frame, SplitKeys } from './instance';

export interface Stack {
  readonly id: string;
  readonly series: string;
  readonly frames: readonly Frame[];
  readonly order: Omit<SliceOrder<Frame>, 'items'>;
  /** What sets this stack apart from others of its series: "b 1000", "echo 2", "localizer"; or "". */
  readonly label: string;
  readonly cine: boolean;
}

type SplitName = 'kind' | 'echo' | 'bValue' | 'phase' | 'acquisition';

const LABEL: Record<SplitName, string> = {
  kind: '',
  echo: 'echo',
  bValue: 'b',
  phase: 'phase',
  acquisition: 'acq',
};

/** Two or more frames at one place in the patient. */
const placeOf = (frame: Frame): string =>
  frame.position ? frame.position.map((x) => x.toFixed(2)).join('\\') : '';

const orientationKey = (frame: Frame): string =>
  frame.axes ? [...frame.axes.row, ...frame.axes.column].map((x) => (x + 0).toFixed(2)).join('\\') : '-';

function shapeKey(frame: Frame): string {
  const { layout, frames } = frame.instance;
  // A multi-frame object without positions (ultrasound, angiography) is a film of its own.
  const film = frames > 1 && !frame.position ? frame.sop : '';
  const kind = frame.splitKeys.localizer ? 'localizer' : '';
  const matrix = `${layout.rows}x${layout.columns}x${layout.samples}`;
  return [film, kind, matrix, frame.frameOfReference, orientationKey(frame)].join('|');
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const k = key(item);
    const group = groups.get(k);
    if (group) group.push(item);
    else groups.set(k, [item]);
  }
  return groups;
}

/** True when frames at one place differ in this attribute, so that it tells volumes apart. */
function tellsApart(frames: readonly Frame[], name: keyof SplitKeys): boolean {
  return [...groupBy(frames, placeOf).entries()].some(
    ([place, here]) => place !== '' && new Set(here.map((f) => f.splitKeys[name])).size > 1,
  );
}

/** Several places with more than one frame at some: volumes on top of each other. A single place
 * seen many times is a series in time, which is scrolled or played as one. */
const overlaps = (frames: readonly Frame[]): boolean => {
  const placed = frames.filter((f) => f.position);
  const places = groupBy(placed, placeOf).size;
  return places > 1 && places < placed.length;
};

/** Numbers in number order, the rest as text. */
const natural = (a: string, b: string): number => Number(a) - Number(b) || a.localeCompare(b);

interface Part {
  readonly frames: readonly Frame[];
  readonly label: string;
}

/** Volumes told apart by nothing but their numbers: the n-th image at each place, if all have n. */
function byTurn(part: Part): Part[] {
  const turns: Frame[][] = [];
  const places = groupBy(sortByNumber(part.frames), placeOf);
  for (const here of places.values()) here.forEach((frame, turn) => (turns[turn] ??= []).push(frame));
  if (turns.some((turn) => turn.length !== places.size)) return [part];
  return turns.map((frames, turn) => ({
    frames,
    label: [part.label, `volume ${turn + 1} by number`].filter(Boolean).join(' · '),
  }));
}

/** Split by kind of image, echo, b-value, phase, then acquisition, as long as slices lie on top of each other. */
function separate(part: Part, names: readonly SplitName[]): Part[] {
  const [name, ...rest] = names;
  if (!overlaps(part.frames)) return [part];
  if (!name) return byTurn(part);
  if (!tellsApart(part.frames, name)) return separate(part, rest);
  return [...groupBy(part.frames, (f) => f.splitKeys[name]).entries()]
    .sort(([a], [b]) => natural(a, b))
    .flatMap(([value, frames]) => {
      const label = [part.label, `${LABEL[name]} ${value || '?'}`.trim()].filter(Boolean).join(' · ');
      return separate({ frames, label }, rest);
    });
}

function toStack(part: Part, index: number): Stack {
  const first = part.frames[0] as Frame;
  const film = first.instance.frames > 1 && !first.position;
  const { items, ...order } = orderSlices(part.frames);
  return {
    id: `${first.instance.series}#${index}`,
    series: first.instance.series,
    frames: items,
    order,
    label: part.label,
    cine: film,
  };
}

/** The stacks of one series, localizers last; films and volumes in the order of their numbers. */
export function splitSeries(frames: readonly Frame[]): Stack[] {
  const groups = [...groupBy(frames, shapeKey).values()].map((group): Part => {
    const localizer = group[0]?.splitKeys.localizer ?? false;
    return { frames: group, label: localizer ? 'localizer' : '' };
  });
  groups.sort(
    (a, b) =>
      Number(a.label === 'localizer') - Number(b.label === 'localizer') ||
      (a.frames[0]?.instanceNumber ?? 0) - (b.frames[0]?.instanceNumber ?? 0),
  );
  return groups
    .flatMap((group) => separate(group, ['kind', 'echo', 'bValue', 'phase', 'acquisition']))
    .map(toStack);
}
