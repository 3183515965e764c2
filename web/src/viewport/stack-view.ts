/** One viewport: which image is on screen, how it lies there, and how bright it is. */
import { isAbort, RequestFailure } from '../client/http';
import type { SettledSeries } from '../client/settled';
import { atLevel } from '../dicom-model/enlarge';
import type { Frame } from '../dicom-model/instance';
import type { Stack } from '../dicom-model/stacks';
import { defaultVoi, windowFrom, type Voi } from '../dicom-model/voi';
import type { Vec2 } from '../geometry/vec';
import * as view from '../geometry/view';
import { draggedWindow, type Window } from '../geometry/window';
import { Signal } from '../store/signal';
import { lookOf } from './brightness';
import { play } from './cine';
import { codecPool } from './codec-pool';
import { openSurface } from './drawing';
import type { FrameCache } from './frame-cache';
import { extentOf, type LoadedFrame } from './images';
import { Motion } from './motion';
import type { Steered } from './steered';
import type { Surface } from './surface';

export interface ViewState {
  readonly stack: Stack | null;
  /** Index the user asked for; what is on screen is `shown`. */
  readonly target: number;
  readonly shown: { readonly index: number; readonly image: LoadedFrame } | null;
  readonly failure: RequestFailure | null;
  readonly voi: Voi | null;
  readonly userWindow: boolean;
  readonly inverted: boolean;
  readonly smooth: boolean;
  readonly placement: view.Placement;
  readonly zoom: number;
  readonly pan: Vec2;
  /** CSS pixels per image column. */
  readonly magnification: number;
  readonly playing: boolean;
  readonly dropped: number;
}

const START: ViewState = {
  stack: null,
  target: 0,
  shown: null,
  failure: null,
  voi: null,
  userWindow: false,
  inverted: false,
  smooth: true,
  placement: view.UPRIGHT,
  zoom: 1,
  pan: [0, 0],
  magnification: 1,
  playing: false,
  dropped: 0,
};

const MIN_ZOOM = 0.1;
const MAX_ZOOM = 40;
const DEFAULT_FRAME_TIME = 1000 / 15;
const MAX_IN_FLIGHT = 3;
/** Pixels that a picture must have in each direction before it counts as one. */
const RECOGNISABLE = 128;
/** Previews decoded ahead of a film. */
const FILM_AHEAD = 16;
/** The same in the direction of travel. */
const SCROLL_AHEAD = 4;

export const toFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure
    ? error
    : new RequestFailure(
        `This image cannot be shown (${error instanceof Error ? error.message : 'unknown reason'})`,
        'The stored object is unchanged; other images are not affected.',
      );

/** The film's own frame times, or a steady default for a stack of single images. */
export const frameTimesOf = (stack: Stack): readonly number[] =>
  stack.frames[0]?.instance.frameTimes ?? [DEFAULT_FRAME_TIME];

/** What two views of one stack share: where they are, and how bright it is. */
export interface Outlook {
  readonly index: number;
  /** The user's window; null = as the images say. */
  readonly voi: Voi | null;
  /** What the images say, where one has been seen in full: all slices share it. */
  readonly ownVoi: Voi | null;
  readonly inverted: boolean;
  readonly smooth: boolean;
}

export class StackView implements Steered {
  readonly state = new Signal<ViewState>(START);
  private readonly surface: Surface;
  private readonly resize: ResizeObserver;
  private readonly seriesWindows = new Map<string, Voi>();
  private stackVoi: Voi | null = null;
  /** In place of `stackVoi` until an image of the stack is final: previews lack the extremes. */
  private previewVoi: Voi | null = null;
  private settled: SettledSeries | null = null;
  private stopListening: (() => void) | null = null;
  private inFlight = 0;
  private direction = 1;
  private readonly motion = new Motion(() => this.request());
  private stopCine: (() => void) | null = null;
  /** Something else is shown in its place. */
  private resting = false;
  private disposed = false;

  constructor(
    private readonly element: HTMLDivElement,
    id: string,
    private readonly cache: FrameCache,
  ) {
    this.surface = openSurface(element, id, this.painted);
    this.resize = new ResizeObserver(() => {
      if (this.disposed) return;
      this.surface.resized();
      this.draw();
    });
    this.resize.observe(element);
  }

  dispose(): void {
    this.disposed = true;
    this.stop();
    this.stopListening?.();
    this.cache.leave(this);
    this.resize.disconnect();
    this.surface.dispose();
  }

  get count(): number {
    return this.state.value.stack?.frames.length ?? 1;
  }

  get unit(): string {
    const pixels = this.state.value.shown?.image.pixels;
    return pixels?.kind === 'grey' ? pixels.unit : '';
  }

  /** Ask for nothing ahead until `resume`: something else is looked at. */
  rest(): void {
    this.stop();
    this.resting = true;
    this.cache.leave(this);
    this.cache.prefetch([]);
  }

  resume(): void {
    this.resting = false;
    if (!this.disposed) this.request();
  }

  /** Where it is and how bright: for another view of the same stack. */
  outlook(): Outlook {
    const { target, userWindow, voi, inverted, smooth } = this.state.value;
    return { index: target, voi: userWindow ? voi : null, ownVoi: this.stackVoi, inverted, smooth };
  }

  /** Go on where another view of the same stack has been. */
  adopt({ index, voi, ownVoi, inverted, smooth }: Outlook): void {
    const { stack } = this.state.value;
    if (!stack) return;
    if (voi) this.seriesWindows.set(stack.series, voi);
    else this.seriesWindows.delete(stack.series);
    this.stackVoi = ownVoi;
    this.state.patch({ voi, userWindow: voi !== null, inverted, smooth });
    this.applyVoi();
    this.scrollTo(index);
  }

  /** Put a stack on screen; the picture before it is covered until the first image is here. */
  show(stack: Stack): void {
    this.stop();
    this.stackVoi = null;
    this.previewVoi = null;
    this.stopListening?.();
    this.settled = this.cache.settledOf(stack.series);
    this.stopListening = this.settled?.listen(() => this.previewsCame()) ?? null;
    for (const name of ['quality', 'level', 'firstImageAt', 'finalAt', 'coarseAt']) delete this.element.dataset[name];
    const index = this.startOf(stack);
    const { smooth } = this.state.value;
    const saved = this.seriesWindows.get(stack.series) ?? null;
    this.state.set({ ...START, smooth, stack, target: index, voi: saved, userWindow: saved !== null });
    this.request();
    this.noteCoarse();
  }

  /** The image that the server sent first, else the first one. */
  private startOf(stack: Stack): number {
    const lead = this.settled?.lead;
    if (!lead) return 0;
    return Math.max(0, stack.frames.findIndex(({ sop, frame }) => sop === lead.sop && frame === lead.frame));
  }

  scrollTo(index: number): void {
    const { stack, target } = this.state.value;
    if (!stack) return;
    const next = Math.min(Math.max(0, Math.round(index)), stack.frames.length - 1);
    if (next === target) return;
    this.direction = next > target ? 1 : -1;
    this.motion.step();
    this.state.patch({ target: next, failure: null });
    this.request();
  }

  scrollBy(step: number): void {
    this.scrollTo(this.state.value.target + step);
  }

  retry(): void {
    this.state.patch({ failure: null });
    this.request();
  }

  /** Change brightness by a drag in CSS pixels; colour images keep theirs (clinical 6). */
  dragWindow(dx: number, dy: number): void {
    const { shown, voi } = this.state.value;
    const pixels = shown?.image.pixels;
    if (!voi || pixels?.kind !== 'grey') return;
    this.setWindow(draggedWindow(windowFrom(voi), dx, dy, pixels.max - pixels.min));
  }

  setWindow(window: Window): void {
    this.setVoi({ kind: 'window', window });
  }

  resetWindow(): void {
    const { stack } = this.state.value;
    if (stack) this.seriesWindows.delete(stack.series);
    this.stackVoi = null;
    this.state.patch({ userWindow: false, inverted: false });
    this.applyVoi();
  }

  invert(): void {
    if (this.isColour()) return;
    this.state.patch({ inverted: !this.state.value.inverted });
    this.applyVoi();
  }

  toggleSmooth(): void {
    this.state.patch({ smooth: !this.state.value.smooth });
    this.applyVoi();
  }

  /** @param at point that stays where it is, CSS pixels from the centre of the viewport. */
  zoomBy(factor: number, at: Vec2 = [0, 0]): void {
    const { zoom, pan } = this.state.value;
    const next = Math.min(Math.max(MIN_ZOOM, zoom * factor), MAX_ZOOM);
    this.state.patch({ zoom: next, pan: view.panForZoomAt(pan, zoom, next, at) });
    this.draw();
  }

  panBy(dx: number, dy: number): void {
    const { pan } = this.state.value;
    this.state.patch({ pan: [pan[0] + dx, pan[1] + dy] });
    this.draw();
  }

  fit(): void {
    this.state.patch({ zoom: 1, pan: [0, 0] });
    this.draw();
  }

  /** One image pixel on one screen pixel. */
  oneToOne(): void {
    const { shown } = this.state.value;
    if (!shown) return;
    const target = 1 / (window.devicePixelRatio || 1);
    this.zoomBy(target / this.state.value.magnification);
  }

  place(change: (p: view.Placement) => view.Placement): void {
    this.state.patch({ placement: change(this.state.value.placement), pan: [0, 0] });
    this.draw();
  }

  reset(): void {
    this.state.patch({ placement: view.UPRIGHT, zoom: 1, pan: [0, 0] });
    this.resetWindow();
    this.draw();
  }

  togglePlay(): void {
    const { stack, playing, target } = this.state.value;
    if (playing) {
      this.stop();
      this.request(); // the image that the film stopped at, whole
      return;
    }
    if (!stack || stack.frames.length < 2) return;
    this.state.patch({ playing: true, dropped: 0 });
    this.fetchAhead(stack, target);
    this.stopCine = play(
      {
        frames: stack.frames.length,
        times: frameTimesOf(stack),
        show: (index, dropped) => this.showIfLoaded(index, dropped),
      },
      target,
    );
  }

  private stop(): void {
    this.motion.stop();
    this.stopCine?.();
    this.stopCine = null;
    if (this.state.value.playing) this.state.patch({ playing: false });
  }

  private isColour(): boolean {
    return this.state.value.shown?.image.pixels.kind === 'colour';
  }

  private setVoi(voi: Voi): void {
    const { stack } = this.state.value;
    if (!stack || this.isColour()) return;
    this.seriesWindows.set(stack.series, voi);
    this.state.patch({ userWindow: true, voi });
    this.applyVoi();
  }

  private showIfLoaded(index: number, dropped: number): boolean {
    const { stack } = this.state.value;
    const frame = stack?.frames[index];
    if (!stack || !frame) return false;
    const image = this.cache.peek(frame) ?? this.cache.peekPreview(frame);
    if (!image?.final) {
      const coming = Array.from({ length: FILM_AHEAD }, (_, k) => stack.frames[(index + 1 + k) % stack.frames.length] as Frame);
      const missing = coming.filter((next) => !this.cache.peekPreview(next) && !this.cache.peek(next));
      for (const next of missing) void this.cache.preview(next);
      // With one codec a whole image would hold up the previews that are due: it has its turn when they are here.
      const room = codecPool().spare || !missing.some((next) => this.cache.hasPreview(next));
      if (room) void this.cache.load(frame, false).catch(() => undefined);
    }
    if (!image) return false;
    this.present(image, index, { target: index, dropped });
    return true;
  }

  /** Show the best that is here, and load the target; a few requests at a time, so that a fast scroll does not queue them all. */
  private request(): void {
    const { stack, target } = this.state.value;
    const frame = stack?.frames[target];
    if (!stack || !frame) return;
    const ready = this.cache.peek(frame);
    if (ready) this.present(ready, target);
    else this.showPreview(stack, target, frame);
    if (this.motion.moving && !codecPool().spare && this.passes(stack, target, frame, ready !== undefined)) {
      // Whole images would keep the one codec from the previews that are passing: they wait for the end of the way.
      this.cache.want(this, []);
      this.cache.prefetch([]);
      this.previewsAhead(stack, target);
      return;
    }
    this.cache.want(this, [frame, ...this.ahead(stack, target)]);
    if (ready) {
      this.fetchAhead(stack, target);
      return;
    }
    if (this.inFlight >= MAX_IN_FLIGHT) return;
    this.inFlight += 1;
    this.loadInSteps(stack, target, frame)
      .then(
        (image) => this.arrived(stack, target, image),
        (error: unknown) => this.failed(stack, target, error),
      )
      .finally(() => {
        this.inFlight -= 1;
        const now = this.state.value;
        const waiting = now.stack !== stack || now.target !== target;
        if (!this.disposed && waiting && !this.isFinalAt(now.target)) this.request();
      });
  }

  private isFinalAt(index: number): boolean {
    const { shown } = this.state.value;
    return shown?.index === index && shown.image.final;
  }

  /** First as fine as the viewport can show, where that is less than everything; then everything. */
  private async loadInSteps(stack: Stack, index: number, frame: Frame): Promise<LoadedFrame> {
    const level = this.levelOnScreen(frame);
    if (level > 0 && this.settled) {
      // Only a step on the way: what fails here fails again, and is told, with the whole.
      await this.cache.sharpen(frame, level).catch(() => undefined);
      this.showPreview(stack, index, frame);
    }
    return this.cache.load(frame);
  }

  /** The coarsest level that still has a pixel for each pixel of the screen. */
  private levelOnScreen(frame: Frame): number {
    const canvas = { width: this.element.clientWidth, height: this.element.clientHeight };
    const { placement, zoom } = this.state.value;
    const onScreen = view.magnification(extentOf(frame), canvas, placement, zoom) * (window.devicePixelRatio || 1);
    return Math.max(0, Math.floor(-Math.log2(onScreen)));
  }

  private showPreview(stack: Stack, index: number, frame: Frame): void {
    const ready = this.cache.peekPreview(frame);
    if (ready) this.presentPreview(stack, index, ready);
    void this.cache.preview(frame).then((image) => {
      if (image) this.presentPreview(stack, index, image);
    });
  }

  /** A preview never takes the place of a better picture of the same image, or of another target. */
  private presentPreview(stack: Stack, index: number, image: LoadedFrame): void {
    const { stack: now, target, shown, failure } = this.state.value;
    if (this.disposed || now !== stack || target !== index || failure) return;
    if (shown?.index === index && (shown.image.final || shown.image.level <= image.level)) return;
    this.present(image, index);
  }

  private previewsCame(): void {
    const { stack, target } = this.state.value;
    const frame = stack?.frames[target];
    this.noteCoarse();
    if (!stack || !frame) return;
    if (!this.isFinalAt(target)) this.showPreview(stack, target, frame);
    else this.fetchAhead(stack, target);
  }

  /** Whether previews are what passes by: the image has one, or is here and the next one has. */
  private passes(stack: Stack, index: number, frame: Frame, ready: boolean): boolean {
    if (!ready) return this.cache.hasPreview(frame);
    const next = stack.frames[index + this.direction];
    return next !== undefined && !this.cache.peek(next) && this.cache.hasPreview(next);
  }

  private previewsAhead(stack: Stack, index: number): void {
    for (let k = 1; k <= SCROLL_AHEAD; k += 1) {
      const next = stack.frames[index + k * this.direction];
      if (next && !this.cache.peekPreview(next) && !this.cache.peek(next)) void this.cache.preview(next);
    }
  }

  /** Neighbours come when the whole series can be scrolled: until then they would only slow it down. */
  private fetchAhead(stack: Stack, index: number): void {
    if (this.settled?.stage !== 'arriving' && !this.resting) this.cache.prefetch(this.ahead(stack, index));
  }

  private noteCoarse(): void {
    if (this.settled?.stage !== 'complete' || this.element.dataset['coarseAt']) return;
    this.element.dataset['coarseAt'] = performance.now().toFixed(1);
  }

  /** After each drawing: what is on screen, for tests and measurements. */
  private readonly painted = (): void => {
    const { shown } = this.state.value;
    const { dataset } = this.element;
    if (!shown) {
      delete dataset['quality'];
      delete dataset['shown'];
      return;
    }
    const { image, index } = shown;
    dataset['shown'] = String(index + 1);
    const { rows, columns } = image.frame.instance.layout;
    const isLead = this.settled?.lead?.sop === image.frame.sop && this.settled.lead.frame === image.frame.frame;
    dataset['quality'] = image.final ? 'final' : isLead ? 'lead' : 'coarse';
    dataset['level'] = String(image.level);
    const now = performance.now().toFixed(1);
    const seen = atLevel({ rows, columns }, image.level);
    const wide = seen.columns >= Math.min(RECOGNISABLE, columns);
    if (wide && seen.rows >= Math.min(RECOGNISABLE, rows)) dataset['firstImageAt'] ??= now;
    if (image.final) dataset['finalAt'] ??= now;
  };

  private arrived(stack: Stack, index: number, image: LoadedFrame): void {
    const now = this.state.value;
    if (this.disposed || now.stack !== stack) return;
    const nearer =
      !now.shown || Math.abs(now.target - index) < Math.abs(now.target - now.shown.index);
    if (index === now.target || nearer) this.present(image, index);
    if (index === now.target) this.fetchAhead(stack, index);
  }

  private failed(stack: Stack, index: number, error: unknown): void {
    const now = this.state.value;
    if (this.disposed || isAbort(error) || now.stack !== stack || now.target !== index) return;
    // Never leave another image under the position of the one that failed.
    this.state.patch({ failure: toFailure(error), shown: null });
    this.fetchAhead(stack, index);
  }

  /** Frames in the order they will be wanted: onwards in the direction of travel, then back. */
  private ahead(stack: Stack, index: number): Frame[] {
    const before = stack.frames.slice(0, index).reverse();
    const after = stack.frames.slice(index + 1);
    const [first, second] = this.direction > 0 ? [after, before] : [before, after];
    const near = second.slice(0, 4);
    return [...first.slice(0, 16), ...near, ...first.slice(16), ...second.slice(4)];
  }

  /** Draw an image and say so in one change of state: readers hear once of each frame. */
  private present(image: LoadedFrame, index: number, also: Partial<ViewState> = {}): void {
    try {
      this.surface.show(image);
    } catch (error) {
      this.state.patch({ failure: toFailure(error), shown: null });
      return;
    }
    const next = { ...this.state.value, ...also, shown: { index, image }, failure: null };
    const voi = this.voiFor(next);
    this.paint({ ...next, voi });
    const magnification = this.aim(next) ?? next.magnification;
    this.state.set({ ...next, voi, magnification });
    this.surface.draw();
  }

  /** The user's window, else the stack's (slices of one volume share it), else the image's own. */
  private voiFor({ shown, userWindow, voi, stack }: ViewState): Voi | null {
    if (!shown || shown.image.pixels.kind !== 'grey') return null;
    const { pixels, frame, voiCurve } = shown.image;
    if (userWindow && voi) return voi;
    if (stack?.order.basis !== 'position') return defaultVoi(frame, pixels, voiCurve);
    if (this.stackVoi) return this.stackVoi;
    if (!shown.image.final) return (this.previewVoi ??= defaultVoi(frame, pixels, voiCurve));
    this.stackVoi = defaultVoi(frame, pixels, voiCurve);
    return this.stackVoi;
  }

  private applyVoi(): void {
    const now = this.state.value;
    if (!now.shown) return;
    const voi = this.voiFor(now);
    this.paint({ ...now, voi });
    this.state.patch({ voi });
    this.surface.draw();
  }

  /** Brightness and interpolation of what is on screen. */
  private paint({ shown, voi, inverted, smooth }: ViewState): void {
    if (!shown || !voi) {
      this.surface.look({ curve: null, range: { lower: 0, upper: 255 }, smooth });
      return;
    }
    this.surface.look(lookOf(voi, shown.image.frame.instance, inverted, smooth));
  }

  private draw(): void {
    const magnification = this.aim(this.state.value);
    if (magnification === null) return;
    if (magnification !== this.state.value.magnification) this.state.patch({ magnification });
    this.surface.draw();
  }

  /** Point the camera; returns the magnification, or null when there is nothing to look at. */
  private aim({ shown, placement, zoom, pan }: ViewState): number | null {
    const canvas = { width: this.element.clientWidth, height: this.element.clientHeight };
    if (!shown || this.disposed || canvas.width === 0 || canvas.height === 0) return null;
    const extent = extentOf(shown.image.frame);
    this.surface.aim({ extent, canvas, placement, zoom, pan });
    return view.magnification(extent, canvas, placement, zoom);
  }
}
