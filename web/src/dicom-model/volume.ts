/** Whether a stack is a volume that can be cut into planes, and if not, why: a sentence for the reader (clinical 4). */
import { gridOf, type Irregularity, type PlacedSlice, type VolumeGrid } from '../geometry/volume';
import type { ImageExtent } from '../geometry/view';
import type { Vec2 } from '../geometry/vec';
import type { Frame, ModalityTransform } from './instance';
import type { Stack } from './stacks';

export interface Volume {
  readonly stack: Stack;
  readonly grid: VolumeGrid;
  /** What its values take in memory at most. */
  readonly bytes: number;
}

export type Suitability = { readonly volume: Volume } | { readonly why: string };

const number = (value: number): string => String(Number(value.toPrecision(3)));

/** Images are counted as the viewer counts them: in the order of space, from 1. */
function sentence(wrong: Irregularity): string {
  switch (wrong.kind) {
    case 'few':
      return wrong.count === 1
        ? 'It has one slice only.'
        : `It has ${wrong.count} slices: too few to tell that they are evenly spaced.`;
    case 'turned':
      return `Its slices do not lie parallel: image ${wrong.slice + 1} is turned.`;
    case 'doubled':
      return `Images ${wrong.slice + 1} and ${wrong.slice + 2} lie at one place.`;
    case 'gap': {
      const many = wrong.missing === 1 ? 'A slice is' : `${wrong.missing} slices are`;
      const others = wrong.places - 1;
      const more = others === 0 ? '' : `, and more at ${others} other ${others === 1 ? 'place' : 'places'}`;
      return `${many} missing after image ${wrong.after + 1}${more}.`;
    }
    case 'uneven':
      return `Its slices are not evenly spaced: ${number(wrong.least)} to ${number(wrong.most)} mm.`;
    case 'tilted':
      return `Its slices are tilted by ${number(wrong.degrees)}° against the direction in which they follow (gantry tilt).`;
    case 'shifted':
      return `Its slices do not lie above each other: image ${wrong.slice + 1} is moved aside.`;
    case 'oblique':
      return `It was recorded ${number(wrong.degrees)}° off the axes of the patient.`;
  }
}

const alike = <T>(items: readonly T[], same: (a: T, b: T) => boolean): boolean =>
  items.every((item) => same(item, items[0] as T));

const close = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-4 * Math.abs(b);

const sameTransform = (a: ModalityTransform, b: ModalityTransform): boolean =>
  a.stated === b.stated && a.slope === b.slope && a.intercept === b.intercept;

/** Values that mean the same in every slice, so that a line across them means something. */
function valuesObjection(frames: readonly Frame[]): string | null {
  const instances = frames.map((frame) => frame.instance);
  const [first] = instances;
  const transforms = frames.map((frame) => frame.modalityTransform);
  const colour = instances.some(({ layout }) => layout.samples !== 1 || !layout.photometric.startsWith('MONOCHROME'));
  if (colour) return 'Its images are in colour.';
  if (!alike(instances, (a, b) => a.inverse === b.inverse && a.modality === b.modality)) {
    return 'Its images are not all of one kind: some are inverted, or of another modality.';
  }
  if (transforms.some(({ table }) => table)) return 'Its values go through a table of each image.';
  if (first?.modality === 'CT' && transforms.some(({ stated }) => !stated)) {
    return 'It does not say how its stored values become Hounsfield units.';
  }
  // A PET slice is scaled by itself to one unit; elsewhere a changing scale means that values cannot be compared.
  if (first?.modality !== 'PT' && !alike(transforms, sameTransform)) return 'Its values are scaled differently from image to image.';
  if (!alike(instances, (a, b) => a.units === b.units && (a.suv?.ok ? a.suv.factor : 0) === (b.suv?.ok ? b.suv.factor : 0))) {
    return 'Its values do not have one unit.';
  }
  return null;
}

/** What the frames say of space, or what they do not say. */
function sizeOf(frames: readonly Frame[]): { size: ImageExtent; slices: PlacedSlice[] } | string {
  const [first] = frames;
  const slices = frames.flatMap(({ position, axes }) => (position && axes ? [{ position, axes }] : []));
  if (!first || slices.length < frames.length) return 'Its images do not say where they lie in the patient.';
  if (!first.frameOfReference) return 'It does not name its frame of reference.';
  if (!alike(frames, (a, b) => a.frameOfReference === b.frameOfReference)) return 'Its images have different frames of reference.';
  const spacings = frames.map(({ spacing, atDetector }) => (atDetector ? null : spacing));
  const [spacing] = spacings;
  if (!spacing || spacings.includes(null)) return 'It does not say how large a pixel is in the patient.';
  const { rows, columns } = first.instance.layout;
  const matrix = alike(frames, (a, b) => a.instance.layout.rows === b.instance.layout.rows && a.instance.layout.columns === b.instance.layout.columns);
  if (!matrix || !alike(spacings as Vec2[], (a, b) => close(a[0], b[0]) && close(a[1], b[1]))) {
    return 'Its images are not all of one size.';
  }
  return { size: { rows, columns, spacing }, slices };
}

/** Bytes of a value in memory at most: as `greyPixels` chooses, for all values that the header allows. */
function bytesOfValue({ instance, modalityTransform }: Frame): number {
  const { bitsStored, bitsAllocated, signed } = instance.layout;
  const factor = instance.suv?.ok ? instance.suv.factor : 1;
  const [slope, intercept] = [modalityTransform.slope * factor, modalityTransform.intercept * factor];
  if (bitsAllocated > 16 || !Number.isInteger(slope) || !Number.isInteger(intercept)) return 4;
  const stored = signed ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1] : [0, 2 ** bitsStored - 1];
  const ends = stored.map((value) => value * slope + intercept);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  if (low >= 0 && high <= 255) return 1;
  return (low >= -32_768 && high <= 32_767) || (low >= 0 && high <= 65_535) ? 2 : 4;
}

export function volumeOf(stack: Stack): Suitability {
  const { frames } = stack;
  if (frames.length === 1) return { why: sentence({ kind: 'few', count: 1 }) };
  const objection = valuesObjection(frames);
  if (objection) return { why: objection };
  const placed = sizeOf(frames);
  if (typeof placed === 'string') return { why: placed };
  const grid = gridOf(placed.slices, placed.size);
  if ('kind' in grid) return { why: sentence(grid) };
  const each = placed.size.rows * placed.size.columns;
  const bytes = frames.reduce((sum, frame) => sum + each * bytesOfValue(frame), 0);
  return { volume: { stack, grid, bytes } };
}

const MB = 1024 * 1024;

/** What to say of a volume that does not fit into memory, or null. @param limit bytes */
export function tooLarge({ bytes }: Volume, limit: number): string | null {
  if (bytes <= limit) return null;
  return `It needs ${Math.ceil(bytes / MB).toLocaleString('en-US')} MB of memory; on this device a volume may take ${Math.floor(limit / MB).toLocaleString('en-US')} MB.`;
}
