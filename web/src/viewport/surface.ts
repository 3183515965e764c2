/** What a viewport draws on: with the graphics card, or without one in software. */
import type { GreyCurve } from '../dicom-model/shade';
import type { Vec2 } from '../geometry/vec';
import type { ImageExtent, Placement, Size } from '../geometry/view';
import type { LoadedFrame } from './images';

/** How values become brightness. */
export interface Look {
  /** Null for colour images, which are drawn as they are. */
  readonly curve: GreyCurve | null;
  /** Values that are drawn black and white at the ends of the curve. */
  readonly range: { readonly lower: number; readonly upper: number };
  /** Between pixels: a straight line, or none. */
  readonly smooth: boolean;
}

/** Where an image lies. */
export interface Aim {
  readonly extent: ImageExtent;
  /** Of the viewport, in CSS pixels. */
  readonly canvas: Size;
  readonly placement: Placement;
  readonly zoom: number;
  readonly pan: Vec2;
}

/** Both kinds show the same picture; what is set is seen with the next `draw`. */
export interface Surface {
  /** Put up an image. @throws when it cannot be drawn */
  show(image: LoadedFrame): void;
  look(look: Look): void;
  aim(aim: Aim): void;
  /** Draw before the browser paints next; many calls until then are one drawing. */
  draw(): void;
  /** The element has another size. */
  resized(): void;
  dispose(): void;
}

/** Called after each drawing. */
export type Drawn = () => void;
