/**
 * Drawing without a graphics card. Software WebGL takes some 90 ms for an image that fills the screen; this
 * takes a few, and gives the same picture.
 */
import { BLACK, colourWords, lineOf, Shading } from '../dicom-model/shade';
import type { GreyPixels, ColourPixels } from '../dicom-model/pixels';
import { affineFor, type Affine } from '../geometry/view';
import type { LoadedFrame } from './images';
import type { Aim, Drawn, Look, Surface } from './surface';

/** What is drawn: values, and how many of them there are. */
export type Picture = Pick<LoadedFrame, 'pixels' | 'size'>;

export class CanvasSurface implements Surface {
  private readonly canvas = document.createElement('canvas');
  private readonly pen: CanvasRenderingContext2D;
  private screen: ImageData | null = null;
  private image: Picture | null = null;
  private current: Look | null = null;
  private shading: Shading | null = null;
  private place: Aim | null = null;
  private frame = 0;

  constructor(
    private readonly element: HTMLElement,
    private readonly drawn: Drawn,
  ) {
    this.canvas.className = 'software-canvas';
    const pen = this.canvas.getContext('2d', { alpha: false });
    if (!pen) throw new Error('this browser has no canvas');
    this.pen = pen;
    element.append(this.canvas);
  }

  show(image: Picture): void {
    this.image = image;
  }

  look(look: Look): void {
    if (look.curve && !sameCurve(look.curve, this.current?.curve)) this.shading = new Shading(look.curve);
    this.current = look;
  }

  aim(aim: Aim): void {
    this.place = aim;
  }

  draw(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame(this.paint);
  }

  resized(): void {
    this.draw();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.frame = -1;
    this.canvas.remove();
  }

  private readonly paint = (): void => {
    this.frame = 0;
    const { canvas, image, place, current } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.element.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.element.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    if (image && place && current) {
      const map = affineFor(place.extent, place.canvas, place.placement, place.zoom, place.pan).map((v) => v * ratio) as unknown as Affine;
      // A preview has fewer pixels over the same area.
      const { rows, columns } = image.size;
      const [u, v] = [place.extent.columns / columns, place.extent.rows / rows];
      const fine: Affine = [map[0] * u, map[1] * u, map[2] * v, map[3] * v, map[4], map[5]];
      if (image.pixels.kind === 'colour') this.paintColour(image.pixels, image.size, fine, current.smooth);
      else this.paintGrey(image.pixels, image.size, fine, current.smooth);
    }
    this.drawn();
  };

  private paintGrey(pixels: GreyPixels, size: LoadedFrame['size'], [a, b, c, d, e, f]: Affine, smooth: boolean): void {
    const { width, height } = this.canvas;
    if (this.screen?.width !== width || this.screen.height !== height) this.screen = new ImageData(width, height);
    const words = new Uint32Array(this.screen.data.buffer);
    words.fill(BLACK);
    const { rows, columns } = size;
    // Turned by a quarter, the rows of the image run down the screen.
    const turned = a === 0;
    const [across, down] = turned
      ? [lineOf(width, rows, e, c, smooth), lineOf(height, columns, f, b, smooth)]
      : [lineOf(width, columns, e, a, smooth), lineOf(height, rows, f, d, smooth)];
    const steps = turned ? { across: columns, down: 1 } : { across: 1, down: columns };
    this.shading?.draw(pixels.values, across, down, steps, words);
    this.pen.putImageData(this.screen, 0, 0);
  }

  /** Colours are drawn as they are: the browser's own scaling does it. */
  private paintColour(pixels: ColourPixels, { rows, columns }: LoadedFrame['size'], map: Affine, smooth: boolean): void {
    const { pen, canvas } = this;
    const picture = new ImageData(columns, rows);
    colourWords(pixels.values, new Uint32Array(picture.data.buffer));
    const own = document.createElement('canvas');
    [own.width, own.height] = [columns, rows];
    own.getContext('2d')?.putImageData(picture, 0, 0);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = '#000';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(...map);
    pen.imageSmoothingEnabled = smooth;
    pen.imageSmoothingQuality = 'low'; // in a straight line between pixels
    pen.drawImage(own, 0, 0);
    pen.setTransform(1, 0, 0, 1, 0, 0);
  }
}

const sameCurve = (one: NonNullable<Look['curve']>, other: Look['curve'] | undefined): boolean =>
  other?.length === one.length && one.every(([v, g], i) => other[i]?.[0] === v && other[i][1] === g);
