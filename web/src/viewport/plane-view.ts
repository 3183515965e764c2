/**
 * One plane of a volume on the screen. Planes lie along the axes of the volume, so that each of their pixels is a
 * voxel and no graphics card is asked, with one or without (docs/adr/0017).
 */
import { writeSlice } from '../dicom-model/reslice';
import type { GreyPixels } from '../dicom-model/pixels';
import type { Cut, Index } from '../geometry/volume';
import type { Vec2 } from '../geometry/vec';
import { affineFor, pixelUnder, UPRIGHT, type Affine, type Size } from '../geometry/view';
import type { Progress } from '../store/filling';
import { CanvasSurface } from './canvas-surface';
import type { LoadedFrame } from './images';
import type { Look } from './surface';

export interface Lie {
  readonly zoom: number;
  readonly pan: Vec2;
  /** Of the viewport, CSS pixels; zero while it is not on screen. */
  readonly box: Size;
}

/** From the pixels of a plane to those of its viewport. */
export const mapOf = ({ extent }: Cut, { zoom, pan, box }: Lie): Affine => affineFor(extent, box, UPRIGHT, zoom, pan);

/** The middle of a pixel of the plane, CSS pixels from the corner of the viewport. */
export function onScreen(cut: Cut, lie: Lie, [column, row]: Vec2): Vec2 {
  const [a, b, c, d, e, f] = mapOf(cut, lie);
  const [x, y] = [column + 0.5, row + 0.5];
  return [a * x + c * y + e, b * x + d * y + f];
}

/** The pixel of the plane under a point, CSS pixels from the centre of the viewport. */
export function underPoint(cut: Cut, lie: Lie, [x, y]: Vec2): Vec2 {
  const [column, row] = pixelUnder(mapOf(cut, lie), [x + lie.box.width / 2, y + lie.box.height / 2]);
  return [Math.floor(column), Math.floor(row)];
}

const hasBox = ({ box }: Lie): boolean => box.width > 0 && box.height > 0;

export class PlaneView {
  private readonly surface: CanvasSurface;
  private readonly resize: ResizeObserver;
  private readonly values: Float32Array;
  private progress: Progress | null = null;

  /** @param resized the viewport has another size. */
  constructor(
    private readonly element: HTMLElement,
    readonly cut: Cut,
    private readonly whole: { readonly rows: number; readonly columns: number },
    resized: (box: Size) => void,
  ) {
    this.values = new Float32Array(cut.extent.rows * cut.extent.columns);
    this.surface = new CanvasSurface(element, this.painted);
    const measure = (): void => resized({ width: element.clientWidth, height: element.clientHeight });
    this.resize = new ResizeObserver(measure);
    this.resize.observe(element);
    measure();
  }

  dispose(): void {
    this.resize.disconnect();
    this.surface.dispose();
  }

  /** What a slice gives to this plane is here, or better. */
  put(at: Index, k: number, slice: LoadedFrame | null): void {
    const grey = slice?.pixels.kind === 'grey' ? { values: slice.pixels.values, ...slice.size } : null;
    writeSlice(this.cut, at, k, grey, this.whole, this.values);
  }

  /** Cut anew, through another voxel. */
  recut(at: Index, slices: readonly (LoadedFrame | null)[]): void {
    if (this.cut.through.axis === 2) this.put(at, at[2], slices[at[2]] ?? null);
    else slices.forEach((slice, k) => this.put(at, k, slice));
  }

  draw(look: Look, lie: Lie, progress: Progress): void {
    if (!hasBox(lie)) return;
    this.progress = progress;
    const { rows, columns } = this.cut.extent;
    this.surface.show({ pixels: asGrey(this.values), size: { rows, columns } });
    this.surface.look(look);
    this.surface.aim({ extent: this.cut.extent, canvas: lie.box, placement: UPRIGHT, zoom: lie.zoom, pan: lie.pan });
    this.surface.draw();
  }

  /** After each drawing: what is on screen, for tests and measurements. */
  private readonly painted = (): void => {
    const { progress, element } = this;
    if (!progress) return;
    const nothing = progress.missing === progress.touched;
    element.dataset['quality'] = progress.final ? 'final' : nothing ? 'waiting' : 'coarse';
    element.dataset['finals'] = `${progress.finals}/${progress.touched}`;
    const now = performance.now().toFixed(1);
    if (!nothing) element.dataset['firstImageAt'] ??= now;
    if (progress.final) element.dataset['finalAt'] ??= now;
  };
}

const asGrey = (values: Float32Array): GreyPixels => ({
  kind: 'grey',
  values,
  min: 0,
  max: 0,
  unit: '',
  scaled: false,
  isPadding: () => false,
});
