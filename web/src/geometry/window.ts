/** Grey-level windows (PS3.3 C.11.2.1.2) and the presets offered for Hounsfield units. */

export type VoiFunction = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

export interface Window {
  readonly centre: number;
  readonly width: number;
  readonly shape: VoiFunction;
}

export interface Preset {
  readonly name: string;
  readonly key: string;
  readonly centre: number;
  readonly width: number;
}

/** Only meaningful on Hounsfield units; the viewer offers them nowhere else. */
export const CT_PRESETS: readonly Preset[] = [
  { name: 'Soft tissue', key: '1', centre: 40, width: 400 },
  { name: 'Lung', key: '2', centre: -600, width: 1500 },
  { name: 'Liver', key: '3', centre: 90, width: 150 },
  { name: 'Bone', key: '4', centre: 480, width: 2500 },
  { name: 'Brain', key: '5', centre: 40, width: 80 },
  { name: 'Stroke', key: '6', centre: 35, width: 35 },
  { name: 'Mediastinum', key: '7', centre: 50, width: 350 },
];

/**
 * Values shown darkest and brightest. LINEAR follows the standard's half-pixel formula, which
 * needs a width of at least 1; narrower windows use the exact formula.
 */
export function windowRange(w: Window): { lower: number; upper: number } {
  if (w.shape === 'LINEAR' && w.width > 1) {
    const lower = w.centre - 0.5 - (w.width - 1) / 2;
    return { lower, upper: lower + (w.width - 1) };
  }
  return { lower: w.centre - w.width / 2, upper: w.centre + w.width / 2 };
}

/** The window whose exact linear range is [lower, upper]. */
export function windowOfRange(lower: number, upper: number): Window {
  const width = Math.max(upper - lower, 1e-6);
  return { centre: (lower + upper) / 2, width, shape: 'LINEAR_EXACT' };
}

/**
 * Window from a drag: right widens, down darkens (raises the centre).
 *
 * @param span range of the image's values; sets how much one pixel of travel changes.
 */
export function draggedWindow(w: Window, dx: number, dy: number, span: number): Window {
  const step = Math.max(Math.min(span / 1024, w.width / 64), w.width / 400, 1e-6);
  const floor = w.shape === 'LINEAR' ? 1 : 1e-6;
  return { ...w, width: Math.max(floor, w.width + dx * step), centre: w.centre + dy * step };
}
