/**
 * The one rendering engine of the page and what Cornerstone needs to know of an image.
 *
 * Images are handed over in their own plane (first pixel at the origin, rows along x): the camera
 * of `geometry/view.ts` then decides alone how they lie on the screen, and the same placement
 * makes the orientation labels. Values are handed over after the modality transform, as
 * MONOCHROME2: inversion and windows are decided by `stack-view.ts`.
 */
import { Enums, metaData, RenderingEngine, utilities, type Types } from '@cornerstonejs/core';
import type { ImageExtent } from '../geometry/view';
import { frameKey } from './frame-cache';
import { extentOf, type LoadedFrame } from './images';
import { startCodecs } from './library';

let engine: RenderingEngine | null = null;
const drawn = new Map<string, LoadedFrame>();

/** Pixels as drawn: those of the image, or larger ones over exactly the same area. */
function gridOf(loaded: LoadedFrame): ImageExtent & { readonly first: readonly [number, number] } {
  const { rows, columns, spacing } = extentOf(loaded.frame);
  const { size } = loaded;
  const [x, y] = [(spacing[0] * columns) / size.columns, (spacing[1] * rows) / size.rows];
  // The first pixel of the image has its centre at the origin, its edge half a pixel before it.
  const first = [(x - spacing[0]) / 2, (y - spacing[1]) / 2] as const;
  return { rows: size.rows, columns: size.columns, spacing: [x, y], first };
}

function planeModule(loaded: LoadedFrame): object {
  const { spacing, rows, columns, first } = gridOf(loaded);
  return {
    rows,
    columns,
    rowCosines: [1, 0, 0],
    columnCosines: [0, 1, 0],
    imageOrientationPatient: [1, 0, 0, 0, 1, 0],
    imagePositionPatient: [...first, 0],
    columnPixelSpacing: spacing[0],
    rowPixelSpacing: spacing[1],
    frameOfReferenceUID: loaded.frame.frameOfReference,
    usingDefaultValues: false,
  };
}

function pixelModule(loaded: LoadedFrame): object {
  const colour = loaded.pixels.kind === 'colour';
  const bits = loaded.pixels.values.BYTES_PER_ELEMENT * 8;
  return {
    samplesPerPixel: colour ? 3 : 1,
    photometricInterpretation: colour ? 'RGB' : 'MONOCHROME2',
    bitsAllocated: bits,
    bitsStored: bits,
    highBit: bits - 1,
    pixelRepresentation: loaded.pixels.values instanceof Int16Array ? 1 : 0,
  };
}

function provide(type: string, imageId: string): object | undefined {
  const loaded = drawn.get(imageId);
  if (!loaded) return undefined;
  if (type === Enums.MetadataModules.IMAGE_PLANE) return planeModule(loaded);
  if (type === Enums.MetadataModules.IMAGE_PIXEL) return pixelModule(loaded);
  if (type === Enums.MetadataModules.GENERAL_SERIES) {
    // Not the real modality: Cornerstone gives PET its own window, which clinical 6 decides here.
    return { modality: 'OT' };
  }
  return undefined;
}

/** Start rendering, once. */
export function renderingEngine(): RenderingEngine {
  if (engine) return engine;
  startCodecs();
  metaData.addProvider(provide, 10_000);
  engine = new RenderingEngine('lightwell');
  return engine;
}

/** Cornerstone's view of a loaded frame. Keep it only as long as it is on screen. */
export function cornerstoneImage(loaded: LoadedFrame): Types.IImage {
  const imageId = `lightwell:${frameKey(loaded.frame)}${loaded.level > 0 ? `@${loaded.level}` : ''}`;
  drawn.set(imageId, loaded);
  const { rows, columns, spacing } = gridOf(loaded);
  const { pixels } = loaded;
  const colour = pixels.kind === 'colour';
  const numberOfComponents = colour ? 3 : 1;
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({
    scalarData: pixels.values,
    width: columns,
    height: rows,
    numberOfComponents,
  });
  const [min, max] = colour ? [0, 255] : [pixels.min, pixels.max];
  return {
    imageId,
    dataType: pixels.values.constructor.name,
    color: colour,
    rgba: false,
    columns,
    rows,
    width: columns,
    height: rows,
    columnPixelSpacing: spacing[0],
    rowPixelSpacing: spacing[1],
    slope: 1,
    intercept: 0,
    invert: false,
    minPixelValue: min,
    maxPixelValue: max,
    windowCenter: (min + max) / 2,
    // Cornerstone draws a first window from these before ours: it must not be empty.
    windowWidth: Math.max(max - min, 2),
    sizeInBytes: pixels.values.byteLength,
    numberOfComponents,
    voxelManager,
    getPixelData: () => pixels.values,
    getCanvas: undefined,
    photometricInterpretation: colour ? 'RGB' : 'MONOCHROME2',
  } as unknown as Types.IImage;
}

export function forgetImage(imageId: string): void {
  drawn.delete(imageId);
}
