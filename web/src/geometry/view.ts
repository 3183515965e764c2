/**
 * How an image lies on the screen: a mirror and a quarter-turn rotation, then zoom and pan.
 *
 * A single definition serves the camera and the orientation labels, so that the two cannot
 * disagree: the screen shows `Rotate(rotation, clockwise) * (flipped ? MirrorX : identity)`.
 */
import type { Vec2 } from './vec';

export type Rotation = 0 | 90 | 180 | 270;

export interface Placement {
  readonly rotation: Rotation;
  readonly flipped: boolean;
}

export const UPRIGHT: Placement = { rotation: 0, flipped: false };

const quarter = (degrees: number): Rotation => ((((degrees % 360) + 360) % 360) as Rotation);

/** Turn what is on the screen by a quarter, clockwise. */
export const rotateClockwise = (p: Placement): Placement => ({
  ...p,
  rotation: quarter(p.rotation + 90),
});

/** Mirror what is on the screen left to right (MirrorX * R(r) = R(-r) * MirrorX). */
export const flipHorizontal = (p: Placement): Placement => ({
  flipped: !p.flipped,
  rotation: quarter(-p.rotation),
});

/** Mirror what is on the screen top to bottom (a left-right mirror and a half turn). */
export const flipVertical = (p: Placement): Placement => ({
  flipped: !p.flipped,
  rotation: quarter(180 - p.rotation),
});

const COS: Record<Rotation, number> = { 0: 1, 90: 0, 180: -1, 270: 0 };
const SIN: Record<Rotation, number> = { 0: 0, 90: 1, 180: 0, 270: -1 };

/** Image-space directions that point to the right and to the bottom of the screen. */
export function screenAxes(p: Placement): { right: Vec2; down: Vec2 } {
  const mirror = p.flipped ? -1 : 1;
  const c = COS[p.rotation];
  const s = SIN[p.rotation];
  return { right: [mirror * c + 0, -s + 0], down: [mirror * s + 0, c + 0] };
}

export interface ImageExtent {
  readonly columns: number;
  readonly rows: number;
  /** Distance between column centres, then row centres; any unit, the same for both. */
  readonly spacing: Vec2;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Camera {
  readonly focalPoint: [number, number, number];
  readonly position: [number, number, number];
  readonly viewUp: [number, number, number];
  readonly viewPlaneNormal: [number, number, number];
  /** Half the height of the canvas in world units. */
  readonly parallelScale: number;
}

/** World units per CSS pixel when the whole image just fits the canvas. */
export function fitScale(image: ImageExtent, canvas: Size, p: Placement): number {
  const width = image.columns * image.spacing[0];
  const height = image.rows * image.spacing[1];
  const turned = p.rotation === 90 || p.rotation === 270;
  const onScreen = turned ? { w: height, h: width } : { w: width, h: height };
  return Math.max(onScreen.w / Math.max(1, canvas.width), onScreen.h / Math.max(1, canvas.height));
}

/**
 * Camera over an image that lies in the plane z = 0, first pixel centre at the origin, rows
 * along +x and columns along +y.
 *
 * @param zoom 1 = the image fits the canvas.
 * @param pan  offset of the image on the screen in CSS pixels.
 */
export function cameraFor(
  image: ImageExtent,
  canvas: Size,
  p: Placement,
  zoom: number,
  pan: Vec2,
): Camera {
  const { right, down } = screenAxes(p);
  const scale = fitScale(image, canvas, p) / zoom;
  const x = ((image.columns - 1) / 2) * image.spacing[0] - (pan[0] * right[0] + pan[1] * down[0]) * scale;
  const y = ((image.rows - 1) / 2) * image.spacing[1] - (pan[0] * right[1] + pan[1] * down[1]) * scale;
  const viewUp: [number, number, number] = [-down[0], -down[1], 0];
  // right x up: towards the viewer; it changes sides when the image is mirrored.
  const normal = right[0] * viewUp[1] - right[1] * viewUp[0];
  return {
    focalPoint: [x, y, 0],
    position: [x, y, normal * 100],
    viewUp,
    viewPlaneNormal: [0, 0, normal],
    parallelScale: (canvas.height / 2) * scale,
  };
}

/** Affine map x' = a x + c y + e, y' = b x + d y + f, in the order of `CanvasRenderingContext2D.setTransform`. */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/**
 * Where the image lies on the canvas: from image pixels, (0, 0) being the outer corner of the first one, to
 * CSS pixels. Shows the same as `cameraFor` of the same values.
 */
export function affineFor(image: ImageExtent, canvas: Size, p: Placement, zoom: number, pan: Vec2): Affine {
  const { right, down } = screenAxes(p);
  const k = zoom / fitScale(image, canvas, p);
  const [a, b, c, d] = [
    image.spacing[0] * right[0] * k,
    image.spacing[0] * down[0] * k,
    image.spacing[1] * right[1] * k,
    image.spacing[1] * down[1] * k,
  ];
  const [x, y] = [image.columns / 2, image.rows / 2];
  return [a, b, c, d, canvas.width / 2 + pan[0] - a * x - c * y, canvas.height / 2 + pan[1] - b * x - d * y];
}

/** The image pixel, in parts, that lies at a point of the canvas: the way back through `affineFor`. */
export function pixelUnder([a, b, c, d, e, f]: Affine, [x, y]: Vec2): Vec2 {
  const size = a * d - b * c;
  return [(d * (x - e) - c * (y - f)) / size, (a * (y - f) - b * (x - e)) / size];
}

/** Screen pixels (CSS) per image column at this zoom: 1 = one to one. */
export function magnification(image: ImageExtent, canvas: Size, p: Placement, zoom: number): number {
  return (image.spacing[0] * zoom) / fitScale(image, canvas, p);
}

/** New pan that keeps the image point under `at` (from the canvas centre) where it is. */
export function panForZoomAt(pan: Vec2, zoom: number, next: number, at: Vec2): Vec2 {
  const k = next / zoom;
  return [at[0] - (at[0] - pan[0]) * k, at[1] - (at[1] - pan[1]) * k];
}
