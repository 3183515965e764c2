/** From a window to what a surface draws with. */
import type { Instance } from '../dicom-model/instance';
import { curvePoints, rangeOf, type Voi } from '../dicom-model/voi';
import type { Look } from './surface';

/** PET is read as dark uptake on white (clinical 6). */
export function lookOf(voi: Voi, { inverse, modality }: Instance, inverted: boolean, smooth: boolean): Look {
  const negative = (inverse !== (modality === 'PT')) !== inverted;
  const range = rangeOf(voi);
  const curve = curvePoints(voi, range).map(([value, grey]) => [value, negative ? 1 - grey : grey] as const);
  return { curve, range, smooth };
}
