/** From values to the pixels of a screen, without a graphics card. */

/** Grey (0..1) for rising values; between two points in a straight line, beyond the ends as at the ends. */
export type GreyCurve = readonly (readonly [value: number, grey: number])[];

const WHITE = 255;
/** Steps between the ends of a curve: far finer than 256 greys can tell. */
const STEPS = 8192;
/** Opaque black, as a little-endian RGBA word. */
export const BLACK = 0xff000000;

const greyWord = (grey: number): number => {
  const level = Math.round(Math.min(1, Math.max(0, grey)) * WHITE);
  return (BLACK | (level << 16) | (level << 8) | level) >>> 0;
};

/**
 * Pixels (RGBA words) for `count` values from `first` on, `step` apart.
 *
 * @param curve at least one point; values rise.
 */
export function shadeTable(curve: GreyCurve, first: number, count: number, step = 1): Uint32Array {
  const table = new Uint32Array(count);
  let next = 0;
  for (let i = 0; i < count; i += 1) {
    const value = first + i * step;
    while (next < curve.length && (curve[next] as readonly [number, number])[0] < value) next += 1;
    const after = curve[Math.min(next, curve.length - 1)] as readonly [number, number];
    const before = curve[Math.max(0, next - 1)] as readonly [number, number];
    const wide = after[0] - before[0];
    const part = next === curve.length || wide <= 0 ? 1 : Math.max(0, (value - before[0]) / wide);
    table[i] = greyWord(before[1] + (after[1] - before[1]) * part);
  }
  return table;
}

/** For each pixel of the screen along one axis: the two pixels of the image beside it, and how far it is from the first. */
export interface Line {
  readonly before: Int32Array;
  readonly after: Int32Array;
  readonly part: Float32Array;
  /** The pixels of the screen that the image covers: from `start`, before `end`. */
  readonly start: number;
  readonly end: number;
}

/**
 * @param length pixels of the screen
 * @param count pixels of the image
 * @param at where the edge of its first pixel lies on the screen
 * @param scale screen pixels for one of the image; negative where it runs backwards
 */
export function lineOf(length: number, count: number, at: number, scale: number, smooth: boolean): Line {
  const before = new Int32Array(length);
  const after = new Int32Array(length);
  const part = new Float32Array(length);
  let [start, end] = [length, 0];
  for (let i = 0; i < length; i += 1) {
    const edge = (i + 0.5 - at) / scale;
    if (edge < 0 || edge >= count) continue;
    [start, end] = [Math.min(start, i), i + 1];
    const centre = smooth ? edge - 0.5 : Math.floor(edge);
    const low = Math.floor(centre);
    before[i] = Math.max(0, low);
    after[i] = smooth ? Math.min(count - 1, low + 1) : low;
    part[i] = centre - low;
  }
  return { before, after, part, start: Math.min(start, end), end };
}

type GreyValues = Int16Array | Uint16Array | Uint8Array | Float32Array;

/** The two directions of the screen in steps of the image's values: 1 along its rows, `columns` down them. */
export interface Steps {
  readonly across: number;
  readonly down: number;
}

/** Grey pixels by a curve. A value that is no finite number is black. */
export class Shading {
  private readonly table: Uint32Array;
  private readonly first: number;
  private readonly scale: number;

  constructor(curve: GreyCurve) {
    const from = (curve[0] as readonly [number, number])[0];
    const to = (curve[curve.length - 1] as readonly [number, number])[0];
    const step = (to > from ? to - from : 1) / STEPS;
    this.first = from;
    this.scale = 1 / step;
    this.table = shadeTable(curve, from, STEPS + 1, step);
  }

  /**
   * Draw values over a part of the screen: they are interpolated first and shaded then, as a graphics card does.
   *
   * @param out words of the whole screen, `across.before.length` to a line; what the image does not cover stays.
   */
  draw(values: GreyValues, across: Line, down: Line, { across: x, down: y }: Steps, out: Uint32Array): void {
    const { table } = this;
    const width = across.before.length;
    const [lowest, { start, end }] = [table[0] as number, across];
    // Lines of the image are drawn out to the screen's width once: several lines of the screen lie between the same two.
    let [above, below] = [new Float64Array(width), new Float64Array(width)];
    let [upper, lower] = [-1, -1];
    for (let j = down.start; j < down.end; j += 1) {
      const [before, after] = [down.before[j] as number, down.after[j] as number];
      if (before === lower) [above, below, upper, lower] = [below, above, lower, upper];
      if (before !== upper) this.stretch(values, before * y, x, across, above);
      if (after !== lower) this.stretch(values, after * y, x, across, below);
      [upper, lower] = [before, after];
      const fall = down.part[j] as number;
      for (let i = start, at = j * width + start; i < end; i += 1, at += 1) {
        const high = above[i] as number;
        const step = high + ((below[i] as number) - high) * fall;
        out[at] = step > 0 ? (table[step < STEPS ? (step + 0.5) | 0 : STEPS] as number) : step <= 0 ? lowest : BLACK;
      }
    }
  }

  /** One line of the image over the width of the screen, in steps of the table. */
  private stretch(values: GreyValues, from: number, x: number, { before, after, part, start, end }: Line, into: Float64Array): void {
    const { first, scale } = this;
    for (let i = start; i < end; i += 1) {
      const a = values[from + (before[i] as number) * x] as number;
      const b = values[from + (after[i] as number) * x] as number;
      into[i] = (a + (b - a) * (part[i] as number) - first) * scale;
    }
  }
}

/** The pixels of interleaved RGB bytes. @param out a word for each three of them. */
export function colourWords(values: Uint8Array, out: Uint32Array): void {
  for (let i = 0, at = 0; i < out.length; i += 1, at += 3) {
    out[i] = BLACK | ((values[at + 2] as number) << 16) | ((values[at + 1] as number) << 8) | (values[at] as number);
  }
}
