/** What is written in the corners of a viewport: pure, so that it can be read and tested. */
import type { StudyDetail } from '../client/console';
import type { Frame } from '../dicom-model/instance';
import { windowFrom, type Voi } from '../dicom-model/voi';
import { magnification, UPRIGHT } from '../geometry/view';
import { numberOf, positionOf, type PlaneName } from '../geometry/volume';
import type { Progress } from '../store/filling';
import { formatDate, formatName, formatNumber, formatTime } from '../ui/format';
import type { MprState, MprView } from '../viewport/mpr-view';
import type { ViewState } from '../viewport/stack-view';

export interface Corners {
  readonly patient: readonly string[];
  readonly study: readonly string[];
  readonly series: readonly string[];
  readonly image: readonly string[];
  /** What a reader must not overlook: lossy, flipped, doubtful order, missing slices. */
  readonly warnings: readonly string[];
}

const joined = (...parts: (string | null | undefined | false)[]): string =>
  parts.filter(Boolean).join(' · ');

function patientLines(frame: Frame, study: StudyDetail | null): string[] {
  const t = frame.instance.text;
  const id = t.patientId || study?.patientId || '';
  return [
    formatName(t.patientName || study?.patientName) || 'No name recorded',
    joined(id && `ID ${id}`, formatDate(t.birthDate), t.sex),
    t.studyDescription,
  ];
}

function studyLines(frame: Frame): string[] {
  const t = frame.instance.text;
  const acquired = joined(formatDate(t.acquisitionDate), formatTime(t.acquisitionTime));
  return [
    t.institution,
    joined(formatDate(t.studyDate), formatTime(t.studyTime)),
    acquired && `Acq ${acquired}`,
    joined(t.laterality && `Side ${t.laterality}`, t.viewPosition),
  ];
}

const millimetres = (name: string, value: number | null): string =>
  value === null ? '' : `${name} ${formatNumber(value, 2)} mm`;

/** Location along the normal: recorded, never derived, so that it can be quoted. */
function seriesLines(state: ViewState, frame: Frame): string[] {
  const { stack } = state;
  const t = frame.instance.text;
  const number = t.seriesNumber && `Se ${t.seriesNumber}`;
  return [
    joined(number, t.seriesDescription || frame.instance.modality, stack?.label),
    millimetres('Loc', frame.location),
    joined(millimetres('Thk', frame.thickness), millimetres('Sp', stack?.order.spacing ?? null)),
  ];
}

/** "W 400 L 40 HU", or what takes its place. */
export function windowText(state: ViewState): string {
  const pixels = state.shown?.image.pixels;
  if (!pixels) return '';
  if (pixels.kind === 'colour') return 'Colour';
  return state.voi ? voiText(state.voi, pixels.unit, state.inverted) : '';
}

function voiText(voi: Voi, unit: string, inverted: boolean): string {
  if (voi.kind === 'table') return joined('VOI LUT', inverted && 'inverted');
  const { centre, width, shape } = windowFrom(voi);
  // Three figures of the width are enough to tell two windows apart, whatever the unit.
  const digits = Math.max(0, 2 - Math.floor(Math.log10(width)));
  const values = `W ${formatNumber(width, Math.min(digits, 12))} L ${formatNumber(centre, Math.min(digits, 12))}`;
  return joined(`${values} ${unit}`.trim(), shape === 'SIGMOID' && 'sigmoid', inverted && 'inverted');
}

export function lossyText(frame: Frame): string {
  const { lossy } = frame.instance;
  if (!lossy) return '';
  return lossy.ratio ? `LOSSY ${formatNumber(lossy.ratio, 1)}:1` : 'LOSSY, ratio not recorded';
}

/** Order by number is only a doubt where an order in space could be expected. */
function orderWarning({ stack, shown }: ViewState): string {
  if (!stack || stack.cine || stack.frames.length < 2) return '';
  if (stack.order.basis === 'number') return 'Sorted by number: no positions';
  return shown && stack.order.gaps.includes(shown.index) ? `Slice missing after ${shown.index + 1}` : '';
}

function warningLines(state: ViewState, frame: Frame): string[] {
  const { placement } = state;
  const suv = frame.instance.suv;
  return [
    lossyText(frame),
    suv && !suv.ok ? `No SUV: ${suv.reason}` : '',
    joined(placement.flipped && 'FLIPPED', placement.rotation !== 0 && `ROTATED ${placement.rotation}°`),
    orderWarning(state),
  ];
}

function imageLines(state: ViewState): string[] {
  const { stack, shown } = state;
  return [
    `Zoom ${formatNumber(state.magnification * 100, 0)} %`,
    windowText(state),
    stack && shown ? `${shown.index + 1}/${stack.frames.length}` : '',
  ];
}

const filled = (lines: readonly string[]): string[] => lines.filter(Boolean);

/** The four corners for what is on screen; null while nothing is. */
export function cornersOf(state: ViewState, study: StudyDetail | null): Corners | null {
  if (!state.shown) return null;
  const { frame } = state.shown.image;
  return {
    patient: filled(patientLines(frame, study)),
    study: filled(studyLines(frame)),
    series: filled(seriesLines(state, frame)),
    image: filled(imageLines(state)),
    warnings: filled(warningLines(state, frame)),
  };
}

/** Letters for positions on the positive and the negative side of the patient's origin. */
const SIDES: Record<PlaneName, readonly [string, string]> = { axial: ['H', 'F'], coronal: ['P', 'A'], sagittal: ['L', 'R'] };

/** "H 45.5 mm": how far from the patient's origin, and towards which side. */
export function positionText(name: PlaneName, mm: number): string {
  const far = Math.abs(mm).toFixed(1);
  const side = far === '0.0' ? '' : SIDES[name][mm > 0 ? 0 : 1];
  return `${side} ${far} mm`.trim();
}

/** What is between the pixels of a plane and the stored ones. */
function betweenText({ volume, cuts }: Shown, smooth: boolean, name: PlaneName): string {
  const how = cuts[name].through.axis === 2 ? 'as recorded' : smooth ? 'interpolated' : 'nearest slice';
  return joined(how, millimetres('Sp', volume.grid.axes[2].spacing));
}

/** How far a plane is: "PREVIEW · 12 of 60 slices final"; "" when it is final. */
export function progressText({ touched, finals, missing, level, final }: Progress): string {
  if (final) return '';
  if (touched > 1) return `PREVIEW · ${finals} of ${touched} slices final`;
  if (missing > 0) return 'NOT LOADED';
  return level > 0 ? `PREVIEW 1/${2 ** level}` : 'PREVIEW';
}

type Shown = Pick<MprView, 'volume' | 'cuts' | 'unit' | 'frame'>;

/** The four corners of a plane. */
export function planeCorners(mpr: Shown, state: MprState, name: PlaneName, study: StudyDetail | null): Corners {
  const frame = mpr.frame();
  const { grid, stack } = mpr.volume;
  const cut = mpr.cuts[name];
  const lie = state.lies[name];
  const t = frame.instance.text;
  const suv = frame.instance.suv;
  const lossy = stack.frames.find(({ instance }) => instance.lossy);
  const zoom = magnification(cut.extent, lie.box, UPRIGHT, lie.zoom);
  return {
    patient: filled(patientLines(frame, study)),
    study: filled(studyLines(frame)),
    series: filled([
      joined(t.seriesNumber && `Se ${t.seriesNumber}`, t.seriesDescription || frame.instance.modality, stack.label),
      betweenText(mpr, state.smooth, name),
    ]),
    image: filled([
      `Zoom ${formatNumber(zoom * 100, 0)} %`,
      state.voi ? voiText(state.voi, mpr.unit, state.inverted) : '',
      positionText(name, positionOf(grid, cut, state.at)),
      `${numberOf(cut, state.at) + 1}/${cut.through.count}`,
    ]),
    warnings: filled([
      lossy ? lossyText(lossy) : '',
      suv && !suv.ok ? `No SUV: ${suv.reason}` : '',
      grid.oblique >= 1 ? `OBLIQUE ${formatNumber(grid.oblique, 0)}°` : '',
    ]),
  };
}
