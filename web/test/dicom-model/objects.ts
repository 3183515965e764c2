/** Small data sets for tests, in the DICOM JSON model. */
import { Dataset } from '../../src/dicom-model/dataset';
import { readFrames, readInstance, type Frame } from '../../src/dicom-model/instance';

export type Attributes = Record<string, unknown>;

export const element = (...values: unknown[]): object => ({ vr: 'XX', Value: values });

/** An axial CT slice of 4 x 4 pixels; `extra` replaces or adds elements. */
export function slice(extra: Attributes = {}): Attributes {
  return {
    '00080016': element('1.2.840.10008.5.1.4.1.1.2'),
    '00080018': element('1.2.3.1'),
    '0020000D': element('1.2'),
    '0020000E': element('1.2.3'),
    '00080008': element('ORIGINAL', 'PRIMARY', 'AXIAL'),
    '00080060': element('CT'),
    '00200013': element(1),
    '00280002': element(1),
    '00280004': element('MONOCHROME2'),
    '00280010': element(4),
    '00280011': element(4),
    '00280030': element(0.5, 0.5),
    '00280100': element(16),
    '00280101': element(12),
    '00280102': element(11),
    '00280103': element(0),
    '00200032': element(0, 0, 0),
    '00200037': element(1, 0, 0, 0, 1, 0),
    '00200052': element('1.9'),
    '00281052': element(-1024),
    '00281053': element(1),
    '00281050': element(40),
    '00281051': element(400),
    ...extra,
  };
}

export function framesOf(attributes: Attributes): Frame[] {
  const dataset = Dataset.of(attributes);
  const instance = readInstance(dataset);
  if (!instance) throw new Error('not an image');
  return readFrames(dataset, instance);
}

export const frameOf = (extra: Attributes = {}): Frame => framesOf(slice(extra))[0] as Frame;

/** A slice at a height, with its own UID. */
export const at = (z: number, n: number, extra: Attributes = {}): Frame =>
  frameOf({ '00080018': element(`1.2.3.${n}`), '00200013': element(n), '00200032': element(0, 0, z), ...extra });
