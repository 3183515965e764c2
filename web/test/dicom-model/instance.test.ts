import { describe, expect, it } from 'vitest';
import { Dataset } from '../../src/dicom-model/dataset';
import { frameTimes, readInstance } from '../../src/dicom-model/instance';
import { element, frameOf, framesOf, slice } from './objects';

describe('reading an instance', () => {
  it('refuses what is not an image or claims impossible sizes', () => {
    expect(readInstance(Dataset.of({}))).toBeNull();
    expect(readInstance(Dataset.of(null))).toBeNull();
    expect(readInstance(Dataset.of(slice({ '00280010': element(1e9) })))).toBeNull();
    expect(readInstance(Dataset.of(slice({ '00280010': element('x') })))).toBeNull();
  });

  it('bounds the number of frames', () => {
    expect(readInstance(Dataset.of(slice({ '00280008': element(4e9) })))?.frames).toBe(100_000);
    expect(readInstance(Dataset.of(slice({ '00280008': element(-3) })))?.frames).toBe(1);
  });

  it('says HU only by RescaleType or for an original CT', () => {
    expect(frameOf().instance.units).toBe('HU');
    expect(frameOf({ '00080008': element('DERIVED', 'SECONDARY') }).instance.units).toBe('');
    expect(frameOf({ '00080008': element('DERIVED'), '00281054': element('HU') }).instance.units).toBe('HU');
    expect(frameOf({ '00281054': element('MGML') }).instance.units).toBe('');
    expect(frameOf({ '00080060': element('MR') }).instance.units).toBe('');
  });

  it('takes the lossy mark and multiplies the ratios', () => {
    expect(frameOf().instance.lossy).toBeNull();
    const twice = { '00282110': element('01'), '00282112': element(5, 2) };
    expect(frameOf(twice).instance.lossy).toEqual({ ratio: 10 });
    expect(frameOf({ '00282110': element('01') }).instance.lossy).toEqual({ ratio: null });
  });

  it('inverts MONOCHROME1 and INVERSE, once', () => {
    expect(frameOf().instance.inverse).toBe(false);
    expect(frameOf({ '00280004': element('MONOCHROME1') }).instance.inverse).toBe(true);
    const both = { '00280004': element('MONOCHROME1'), '20500020': element('INVERSE') };
    expect(frameOf(both).instance.inverse).toBe(true);
  });

  it('reads numbers that came as text, and windows only in whole pairs', () => {
    const frame = frameOf({ '00281050': element('40', '-600'), '00281051': element('400', '1500'), '00281055': element('SOFT') });
    expect(frame.windows.map((w) => [w.name, w.width, w.centre])).toEqual([
      ['SOFT', 400, 40],
      ['Window 2', 1500, -600],
    ]);
    expect(frameOf({ '00281051': element(0) }).windows).toEqual([]);
    expect(frameOf({ '00281051': element() }).windows).toEqual([]);
  });

  it('reads per-frame, then shared groups of enhanced objects', () => {
    const group = (z: number): object => ({ '00209113': { Value: [{ '00200032': element(0, 0, z) }] } });
    const frames = framesOf(
      slice({
        '00280008': element(2),
        '52009230': { Value: [group(3), group(6)] },
        '52009229': { Value: [{ '00289145': { Value: [{ '00281052': element(-5), '00281053': element(2) }] } }] },
      }),
    );
    expect(frames.map((frame) => frame.position)).toEqual([
      [0, 0, 3],
      [0, 0, 6],
    ]);
    expect(frames[1]?.modalityTransform).toEqual({ slope: 2, intercept: -5, table: null, stated: true });
  });

  it('knows whether values are scaled, and whose size a pixel has', () => {
    expect(frameOf().modalityTransform.stated).toBe(true);
    expect(frameOf({ '00281052': element() }).modalityTransform).toMatchObject({ slope: 1, intercept: 0, stated: false });
    expect(frameOf()).toMatchObject({ spacing: [0.5, 0.5], atDetector: false });
    expect(frameOf({ '00280030': element(), '00181164': element(0.2, 0.1) })).toMatchObject({ spacing: [0.1, 0.2], atDetector: true });
  });
});

describe('frame times', () => {
  const times = (attributes: Record<string, unknown>): number[] | null => frameTimes(Dataset.of(attributes));

  it('prefer the recommended rate, then FrameTime, its vector, then CineRate', () => {
    const all = {
      '00082144': element(25),
      '00181063': element(33),
      '00181065': element(0, 10, 20),
      '00180040': element(10),
    };
    expect(times(all)).toEqual([40]);
    expect(times({ ...all, '00082144': element() })).toEqual([33]);
    expect(times({ '00181065': element(0, 10, 20), '00180040': element(10) })).toEqual([10, 20]);
    expect(times({ '00180040': element(10) })).toEqual([100]);
    expect(times({ '00181063': element(0) })).toBeNull();
  });
});