/** What the viewer needs to know of one instance and of each of its frames. */
import { planeAxes, patientOrientation, type PlaneAxes, type Vec2Labels } from '../geometry/orientation';
import type { Vec2, Vec3 } from '../geometry/vec';
import type { VoiFunction, Window } from '../geometry/window';
import { Dataset, type Binary } from './dataset';
import { suvScale, type SuvScale } from './suv';

/** A lookup table attribute triple (PS3.3 C.11.1.1.1): how many entries, first input, bits. */
export interface LookupTable {
  readonly entries: number;
  readonly firstInput: number;
  readonly bits: number;
  readonly data: readonly number[] | Binary;
  /** The data are segments to expand (PS3.3 C.7.9.2), not the entries themselves. */
  readonly segmented?: boolean;
}

export interface PixelLayout {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly highBit: number;
  readonly signed: boolean;
  readonly samples: number;
  readonly planar: boolean;
  readonly photometric: string;
  readonly padding: { readonly from: number; readonly to: number } | null;
}

export interface ModalityTransform {
  readonly slope: number;
  readonly intercept: number;
  readonly table: LookupTable | null;
  /** False when the image says nothing: its values are the stored ones. */
  readonly stated: boolean;
}

export interface Instance {
  readonly sop: string;
  readonly sopClass: string;
  readonly series: string;
  readonly study: string;
  readonly modality: string;
  readonly frames: number;
  readonly layout: PixelLayout;
  readonly palette: readonly [LookupTable, LookupTable, LookupTable] | null;
  readonly inverse: boolean;
  readonly instanceNumber: number | null;
  readonly imageType: readonly string[];
  readonly storedSyntax: string | null;
  readonly lossy: { readonly ratio: number | null } | null;
  readonly frameTimes: readonly number[] | null;
  readonly units: string;
  readonly suv: SuvScale | null;
  readonly text: InstanceText;
}

export interface InstanceText {
  readonly patientName: string;
  readonly patientId: string;
  readonly birthDate: string;
  readonly sex: string;
  readonly studyDescription: string;
  readonly seriesDescription: string;
  readonly seriesNumber: string;
  readonly studyDate: string;
  readonly studyTime: string;
  readonly acquisitionDate: string;
  readonly acquisitionTime: string;
  readonly institution: string;
  readonly laterality: string;
  readonly viewPosition: string;
}

/** One image to show: a frame of an instance with everything that may differ from frame to frame. */
export interface Frame {
  readonly instance: Instance;
  readonly sop: string;
  /** 1-based, as in the WADO-RS frames resource. */
  readonly frame: number;
  readonly instanceNumber: number | null;
  readonly position: Vec3 | null;
  readonly axes: PlaneAxes | null;
  readonly sides: Vec2Labels | null;
  readonly frameOfReference: string;
  /** mm between columns, then rows, in the patient; null when unknown. */
  readonly spacing: Vec2 | null;
  /** The spacing is that of the detector: in the patient it is smaller. */
  readonly atDetector: boolean;
  /** Width to height of one pixel when there is no spacing (PixelAspectRatio). */
  readonly aspect: number;
  readonly thickness: number | null;
  readonly location: number | null;
  readonly modalityTransform: ModalityTransform;
  readonly windows: readonly (Window & { readonly name: string })[];
  readonly voiTable: LookupTable | null;
  readonly splitKeys: SplitKeys;
}

export interface SplitKeys {
  readonly localizer: boolean;
  /** ImageType from its third value: "M\\FFE", "CBF", "WATER". */
  readonly kind: string;
  readonly echo: string;
  readonly bValue: string;
  readonly phase: string;
  readonly acquisition: string;
}

/** A header may claim any number of frames; more than this is not a series a person can scroll. */
const MAX_FRAMES = 100_000;

function lookupTable(item: Dataset, descriptor: string, data: string): LookupTable | null {
  const [entries, firstInput, bits] = item.numbers(descriptor) ?? [];
  if (entries === undefined || firstInput === undefined || bits === undefined) return null;
  const content = item.binary(data) ?? item.numbers(data);
  if (!content || bits < 1 || bits > 16) return null;
  return { entries: entries === 0 ? 65_536 : entries, firstInput, bits, data: content };
}

function paletteTable(d: Dataset, descriptor: string, plain: string, segments: string): LookupTable | null {
  if (!d.has(segments)) return lookupTable(d, descriptor, plain);
  const table = lookupTable(d, descriptor, segments);
  return table && { ...table, segmented: true };
}

function palette(d: Dataset): Instance['palette'] {
  const red = paletteTable(d, '00281101', '00281201', '00281221');
  const green = paletteTable(d, '00281102', '00281202', '00281222');
  const blue = paletteTable(d, '00281103', '00281203', '00281223');
  return red && green && blue ? [red, green, blue] : null;
}

function padding(d: Dataset): PixelLayout['padding'] {
  const value = d.number('00280120');
  if (value === null) return null;
  const limit = d.number('00280121') ?? value;
  return { from: Math.min(value, limit), to: Math.max(value, limit) };
}

/** Layout of the pixels, or null when the object holds no image. */
export function pixelLayout(d: Dataset): PixelLayout | null {
  const [rows, columns] = [d.number('00280010'), d.number('00280011')];
  const bitsAllocated = d.number('00280100');
  if (!rows || !columns || !bitsAllocated || rows > 65_535 || columns > 65_535) return null;
  const bitsStored = d.number('00280101') ?? bitsAllocated;
  return {
    rows,
    columns,
    bitsAllocated,
    bitsStored,
    highBit: d.number('00280102') ?? bitsStored - 1,
    signed: d.number('00280103') === 1,
    samples: d.number('00280002') ?? 1,
    planar: d.number('00280006') === 1,
    photometric: d.string('00280004') ?? 'MONOCHROME2',
    padding: padding(d),
  };
}

/** Duration of each frame in ms: recommended rate, then FrameTime, its vector, then CineRate. */
export function frameTimes(d: Dataset): number[] | null {
  const rate = d.number('00082144');
  if (rate && rate > 0) return [1000 / rate];
  const time = d.number('00181063');
  if (time && time > 0) return [time];
  const vector = d.numbers('00181065');
  if (vector && vector.length > 1 && vector.slice(1).every((t) => t > 0)) return vector.slice(1);
  const cine = d.number('00180040');
  return cine && cine > 0 ? [1000 / cine] : null;
}

function lossy(d: Dataset): Instance['lossy'] {
  if (d.string('00282110') !== '01') return null;
  const ratios = d.numbers('00282112');
  return { ratio: ratios ? ratios.reduce((product, ratio) => product * ratio, 1) : null };
}

/** Unit of the values after the modality transform; "" when nothing reliable says so (clinical 5). */
function units(d: Dataset, modality: string, imageType: readonly string[]): string {
  const rescale = d.string('00281054');
  if (rescale === 'HU') return 'HU';
  const derivedOtherwise = rescale !== null && rescale !== 'US';
  if (modality === 'CT' && imageType[0] === 'ORIGINAL' && !derivedOtherwise) return 'HU';
  if (modality === 'PT') return d.string('00541001') === 'BQML' ? 'Bq/ml' : '';
  return '';
}

function texts(d: Dataset): InstanceText {
  const s = (tag: string): string => d.string(tag) ?? '';
  return {
    patientName: d.name('00100010'),
    patientId: s('00100020'),
    birthDate: s('00100030'),
    sex: s('00100040'),
    studyDescription: s('00081030'),
    seriesDescription: s('0008103E'),
    seriesNumber: s('00200011'),
    studyDate: s('00080020'),
    studyTime: s('00080030'),
    acquisitionDate: s('00080022') || s('0008002A').slice(0, 8),
    acquisitionTime: s('00080032') || s('0008002A').slice(8, 21),
    institution: s('00080080'),
    laterality: s('00200062') || s('00200060'),
    viewPosition: s('00185101'),
  };
}

/** Read one instance of a series' metadata; null when it holds no image. */
export function readInstance(d: Dataset): Instance | null {
  const layout = pixelLayout(d);
  const sop = d.string('00080018');
  if (!layout || !sop) return null;
  const modality = d.string('00080060') ?? '';
  const imageType = d.strings('00080008');
  const frames = Math.min(Math.max(1, Math.floor(d.number('00280008') ?? 1)), MAX_FRAMES);
  return {
    sop,
    sopClass: d.string('00080016') ?? '',
    series: d.string('0020000E') ?? '',
    study: d.string('0020000D') ?? '',
    modality,
    frames,
    layout,
    palette: palette(d),
    inverse: layout.photometric === 'MONOCHROME1' || d.string('20500020') === 'INVERSE',
    instanceNumber: d.number('00200013'),
    imageType,
    storedSyntax: d.string('00083002') ?? d.string('00020010'),
    lossy: lossy(d),
    frameTimes: frameTimes(d),
    units: units(d, modality, imageType),
    suv: modality === 'PT' ? suvScale(d) : null,
    text: texts(d),
  };
}

/** Functional group macro of a frame: per-frame first, then shared, then the top level. */
function macro(d: Dataset, frame: number, tag: string): Dataset {
  const own = d.items('52009230')[frame - 1]?.item(tag);
  return own ?? d.item('52009229')?.item(tag) ?? d;
}

function shape(d: Dataset): VoiFunction {
  const name = d.string('00281056');
  return name === 'SIGMOID' || name === 'LINEAR_EXACT' ? name : 'LINEAR';
}

function windows(d: Dataset): (Window & { name: string })[] {
  const centres = d.numbers('00281050') ?? [];
  const widths = d.numbers('00281051') ?? [];
  const names = d.strings('00281055');
  return centres.flatMap((centre, i) => {
    const width = widths[i];
    if (width === undefined || width <= 0) return [];
    return [{ centre, width, shape: shape(d), name: names[i] || `Window ${i + 1}` }];
  });
}

function modalityTransform(d: Dataset, top: Dataset): ModalityTransform {
  const item = top.item('00283000');
  const table = item ? lookupTable(item, '00283002', '00283006') : null;
  const [slope, intercept] = [d.number('00281053'), d.number('00281052')];
  const stated = table !== null || (slope !== null && intercept !== null);
  return { slope: slope ?? 1, intercept: intercept ?? 0, table, stated };
}

function pair(values: readonly number[] | null): Vec2 | null {
  const [row, column] = values ?? [];
  return row && column && row > 0 && column > 0 ? [column, row] : null;
}

const triple = (values: readonly number[] | null): Vec3 | null =>
  values?.length === 3 ? (values as unknown as Vec3) : null;

function aspectOf(d: Dataset): number {
  const [vertical, horizontal] = d.numbers('00280034') ?? [];
  return vertical && horizontal && vertical > 0 && horizontal > 0 ? horizontal / vertical : 1;
}

function splitKeys(d: Dataset, imageType: readonly string[]): SplitKeys {
  return {
    localizer: imageType.some((value) => value === 'LOCALIZER' || value === 'SCOUT'),
    kind: imageType.slice(2).filter(Boolean).join('\\'),
    echo: d.string('00180086') ?? d.string('00180081') ?? '',
    bValue: d.string('00189087') ?? d.item('00189117')?.string('00189087') ?? '',
    phase: d.string('00200100') ?? d.string('00181060') ?? '',
    acquisition: d.string('00200012') ?? '',
  };
}

/** The frames of an instance with their own geometry, window and transform. */
export function readFrames(d: Dataset, instance: Instance): Frame[] {
  const top = splitKeys(d, instance.imageType);
  return Array.from({ length: instance.frames }, (_, i): Frame => {
    const n = i + 1;
    const measures = macro(d, n, '00289110');
    const voi = macro(d, n, '00289132');
    const voiItem = d.item('00283010');
    const axes = planeAxes(macro(d, n, '00209116').numbers('00200037'));
    const temporal = macro(d, n, '00209111');
    const inPatient = pair(measures.numbers('00280030'));
    return {
      instance,
      sop: instance.sop,
      frame: n,
      instanceNumber: instance.instanceNumber,
      position: triple(macro(d, n, '00209113').numbers('00200032')),
      axes,
      sides: axes ? null : patientOrientation(d.strings('00200020')),
      frameOfReference: d.string('00200052') ?? '',
      spacing: inPatient ?? pair(d.numbers('00181164')),
      atDetector: inPatient === null,
      aspect: aspectOf(d),
      thickness: measures.number('00180050'),
      location: d.number('00201041'),
      modalityTransform: modalityTransform(macro(d, n, '00289145'), d),
      windows: windows(voi),
      voiTable: voiItem ? lookupTable(voiItem, '00283002', '00283006') : null,
      splitKeys: temporal === d ? top : { ...top, phase: temporal.string('00209128') ?? top.phase },
    };
  });
}
