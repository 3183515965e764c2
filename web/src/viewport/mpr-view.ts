/**
 * A volume in three planes that meet in one voxel: where they lie, how bright they are, and how far they are
 * filled. Brightness is common to all; zoom and pan are each plane's own.
 */
import type { RequestFailure } from '../client/http';
import type { Frame } from '../dicom-model/instance';
import { defaultVoi, windowFrom, type Voi } from '../dicom-model/voi';
import type { Volume } from '../dicom-model/volume';
import type { Vec2 } from '../geometry/vec';
import { magnification, panForZoomAt, UPRIGHT, type Size } from '../geometry/view';
import { atNumber, atPlace, cutOf, middleOf, numberOf, PLANES, type Cut, type Index, type PlaneName } from '../geometry/volume';
import { draggedWindow, type Window } from '../geometry/window';
import { progressOf, type Progress } from '../store/filling';
import { Signal } from '../store/signal';
import { lookOf } from './brightness';
import type { FrameCache } from './frame-cache';
import type { LoadedFrame } from './images';
import { PlaneView, underPoint, type Lie } from './plane-view';
import { toFailure, type Outlook } from './stack-view';
import type { Steered } from './steered';
import { VolumeFill } from './volume-fill';

type EachPlane<T> = Readonly<Record<PlaneName, T>>;

export interface MprState {
  /** The voxel in which the planes meet. */
  readonly at: Index;
  /** The plane that keys steer, and the one that a phone shows. */
  readonly active: PlaneName;
  readonly voi: Voi | null;
  readonly userWindow: boolean;
  readonly inverted: boolean;
  readonly smooth: boolean;
  readonly lies: EachPlane<Lie>;
  readonly progress: EachPlane<Progress>;
  /** Slices that could not be loaded, and what was said of the first of them. */
  readonly failed: { readonly count: number; readonly failure: RequestFailure } | null;
}

const MIN_ZOOM = 0.1;
const MAX_ZOOM = 40;
/** Slices may come faster than planes need be drawn: ms between two drawings. */
const CALM = 100;

const each = <T>(make: (name: PlaneName) => T): EachPlane<T> =>
  Object.fromEntries(PLANES.map((name) => [name, make(name)])) as Record<PlaneName, T>;

export class MprView {
  readonly state: Signal<MprState>;
  readonly cuts: EachPlane<Cut>;
  private readonly frames: readonly Frame[];
  private readonly views = new Map<PlaneName, PlaneView>();
  private readonly fill: VolumeFill;
  /** The window that the first final slice asks for; until there is one, what a preview makes of it. */
  private ownVoi: { readonly voi: Voi; readonly final: boolean } | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param from where the stack was before; at its first image nobody has scrolled, and the middle says more. */
  constructor(
    readonly volume: Volume,
    cache: FrameCache,
    from: Outlook,
  ) {
    const { grid, stack } = volume;
    this.frames = stack.frames;
    this.cuts = each((name) => cutOf(grid, name));
    const [column, row, slice] = middleOf(grid);
    const at: Index = [column, row, from.index > 0 && from.index < stack.frames.length ? from.index : slice];
    this.fill = new VolumeFill(stack.frames, cache, this.came);
    this.state = new Signal<MprState>({
      at,
      active: 'axial',
      voi: from.voi,
      userWindow: from.voi !== null,
      inverted: from.inverted,
      smooth: from.smooth,
      lies: each(() => ({ zoom: 1, pan: [0, 0], box: { width: 0, height: 0 } })),
      progress: each((name) => progressOf(this.cuts[name], at, this.fill.slices)),
      failed: null,
    });
    this.ownVoi = from.ownVoi && { voi: from.ownVoi, final: true };
    this.fill.aim(at[2], 0);
    this.catchUp();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.fill.dispose();
    for (const view of this.views.values()) view.dispose();
    this.views.clear();
  }

  /** Show a plane in an element, until the returned function is called. */
  attach(name: PlaneName, element: HTMLElement): () => void {
    const { rows, columns } = (this.frames[0] as Frame).instance.layout;
    const view: PlaneView = new PlaneView(element, this.cuts[name], { rows, columns }, (box) => this.measured(name, box));
    this.views.set(name, view);
    view.recut(this.state.value.at, this.fill.slices);
    this.draw(name);
    return () => {
      if (this.views.get(name) === view) this.views.delete(name);
      view.dispose();
    };
  }

  /** What the stack goes on with. */
  outlook(): Outlook {
    const { at, userWindow, voi, inverted, smooth } = this.state.value;
    const ownVoi = this.ownVoi?.final ? this.ownVoi.voi : null;
    return { index: at[2], voi: userWindow ? voi : null, ownVoi, inverted, smooth };
  }

  /** The stored image in whose plane the planes meet. */
  frame(): Frame {
    return this.frames[this.state.value.at[2]] as Frame;
  }

  /** Keys and pointer on one plane, or on whichever is the active one. */
  steer(name?: PlaneName): Steered {
    return new PlaneSteering(this, () => name ?? this.state.value.active);
  }

  activate(name: PlaneName): void {
    if (name !== this.state.value.active) this.state.patch({ active: name });
  }

  /** Let the planes meet in another voxel. */
  moveTo(at: Index): void {
    const before = this.state.value.at;
    if (at.every((n, i) => n === before[i])) return;
    const progress = each((name) => progressOf(this.cuts[name], at, this.fill.slices));
    this.state.patch({ at, progress });
    for (const [name, view] of this.views) {
      const { axis } = this.cuts[name].through;
      if (at[axis] === before[axis]) continue;
      view.recut(at, this.fill.slices);
      this.draw(name);
    }
    if (at[2] !== before[2]) this.fill.aim(at[2], at[2] > before[2] ? 1 : -1);
  }

  lie(name: PlaneName, change: Partial<Lie>): void {
    const { lies } = this.state.value;
    this.state.patch({ lies: { ...lies, [name]: { ...lies[name], ...change } } });
    this.draw(name);
  }

  setVoi(voi: Voi): void {
    this.state.patch({ voi, userWindow: true });
    this.drawAll();
  }

  /** Brightness as the images ask for it. */
  resetVoi(): void {
    this.ownVoi = null;
    this.state.patch({ userWindow: false, inverted: false });
    this.catchUp();
  }

  toggle(what: 'inverted' | 'smooth'): void {
    const turned = !this.state.value[what];
    this.state.patch(what === 'inverted' ? { inverted: turned } : { smooth: turned });
    this.drawAll();
  }

  retry(): void {
    this.fill.retry();
    this.catchUp();
  }

  /** The range of the values on screen; null while there are none. */
  span(): number | null {
    const pixels = this.shownSlice()?.pixels;
    return pixels?.kind === 'grey' ? pixels.max - pixels.min : null;
  }

  /** Unit of the values, as each of the slices has it. */
  get unit(): string {
    const { suv, units } = this.frame().instance;
    return suv?.ok ? 'SUV' : units;
  }

  private shownSlice(): LoadedFrame | null {
    const { slices } = this.fill;
    return slices[this.state.value.at[2]] ?? slices.find((slice) => slice !== null) ?? null;
  }

  /** A slice is written into each plane at once; what is drawn follows calmly. */
  private readonly came = (k: number): void => {
    const { at } = this.state.value;
    for (const view of this.views.values()) view.put(at, k, this.fill.slices[k] ?? null);
    this.timer ??= setTimeout(() => this.catchUp(), CALM);
  };

  /** Say and draw what has come. */
  private catchUp(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { at } = this.state.value;
    const { slices, failures } = this.fill;
    const [first] = failures.values();
    this.state.patch({
      voi: this.voi(),
      progress: each((name) => progressOf(this.cuts[name], at, slices)),
      failed: failures.size > 0 ? { count: failures.size, failure: toFailure(first) } : null,
    });
    this.drawAll();
  }

  /** The user's window, else that of the first slice seen in full (all share it), else of a preview. */
  private voi(): Voi | null {
    const { voi, userWindow } = this.state.value;
    if (userWindow) return voi;
    const slice = this.shownSlice();
    if (!this.ownVoi?.final && slice?.pixels.kind === 'grey' && (slice.final || !this.ownVoi)) {
      this.ownVoi = { voi: defaultVoi(slice.frame, slice.pixels, slice.voiCurve), final: slice.final };
    }
    return this.ownVoi?.voi ?? null;
  }

  private measured(name: PlaneName, box: Size): void {
    this.lie(name, { box });
  }

  private drawAll(): void {
    for (const name of this.views.keys()) this.draw(name);
  }

  private draw(name: PlaneName): void {
    const { voi, inverted, smooth, lies, progress } = this.state.value;
    if (voi) this.views.get(name)?.draw(lookOf(voi, this.frame().instance, inverted, smooth), lies[name], progress[name]);
  }
}

class PlaneSteering implements Steered {
  constructor(
    private readonly mpr: MprView,
    private readonly which: () => PlaneName,
  ) {}

  get count(): number {
    return this.cut.through.count;
  }

  get unit(): string {
    return this.mpr.unit;
  }

  scrollTo(index: number): void {
    this.mpr.moveTo(atNumber(this.cut, this.at, index));
  }

  scrollBy(step: number): void {
    this.scrollTo(numberOf(this.cut, this.at) + step);
  }

  zoomBy(factor: number, at: Vec2 = [0, 0]): void {
    const { zoom, pan } = this.lie;
    const next = Math.min(Math.max(MIN_ZOOM, zoom * factor), MAX_ZOOM);
    this.mpr.lie(this.which(), { zoom: next, pan: panForZoomAt(pan, zoom, next, at) });
  }

  panBy(dx: number, dy: number): void {
    const { pan } = this.lie;
    this.mpr.lie(this.which(), { pan: [pan[0] + dx, pan[1] + dy] });
  }

  fit(): void {
    this.mpr.lie(this.which(), { zoom: 1, pan: [0, 0] });
  }

  /** One voxel across on one pixel of the screen. */
  oneToOne(): void {
    const { zoom, box } = this.lie;
    this.zoomBy(1 / ((window.devicePixelRatio || 1) * magnification(this.cut.extent, box, UPRIGHT, zoom)));
  }

  dragWindow(dx: number, dy: number): void {
    const { voi } = this.mpr.state.value;
    const span = this.mpr.span();
    if (voi && span !== null) this.setWindow(draggedWindow(windowFrom(voi), dx, dy, span));
  }

  setWindow(window: Window): void {
    this.mpr.setVoi({ kind: 'window', window });
  }

  resetWindow(): void {
    this.mpr.resetVoi();
  }

  invert(): void {
    this.mpr.toggle('inverted');
  }

  toggleSmooth(): void {
    this.mpr.toggle('smooth');
  }

  reset(): void {
    for (const name of PLANES) this.mpr.lie(name, { zoom: 1, pan: [0, 0] });
    this.mpr.resetVoi();
  }

  meetAt(point: Vec2): void {
    this.mpr.moveTo(atPlace(this.cut, this.at, underPoint(this.cut, this.lie, point)));
  }

  beside(step: number): void {
    const next = PLANES[PLANES.indexOf(this.which()) + step];
    if (next) this.mpr.activate(next);
  }

  private get cut(): Cut {
    return this.mpr.cuts[this.which()];
  }

  private get at(): Index {
    return this.mpr.state.value.at;
  }

  private get lie(): Lie {
    return this.mpr.state.value.lies[this.which()];
  }
}
