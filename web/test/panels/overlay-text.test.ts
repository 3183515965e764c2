import { describe, expect, it } from 'vitest';
import { greyPixels } from '../../src/dicom-model/pixels';
import { splitSeries, type Stack } from '../../src/dicom-model/stacks';
import { volumeOf, type Volume } from '../../src/dicom-model/volume';
import { cutOf } from '../../src/geometry/volume';
import { cornersOf, lossyText, planeCorners, positionText, progressText, windowText } from '../../src/panels/overlay-text';
import type { MprState } from '../../src/viewport/mpr-view';
import type { ViewState } from '../../src/viewport/stack-view';
import { at, element, frameOf, type Attributes } from '../dicom-model/objects';

function stateOf(extra: Attributes = {}, change: Partial<ViewState> = {}): ViewState {
  const stack = splitSeries([at(0, 1, extra), at(5, 2, extra), at(20, 3, extra), at(10, 4, extra)])[0] ?? null;
  const frame = stack?.frames[0] ?? frameOf();
  const pixels = greyPixels(frame, new Uint16Array(16), null);
  return {
    stack,
    target: 0,
    shown: { index: 0, image: { frame, pixels, voiCurve: null, size: { rows: 4, columns: 4 }, level: 0, final: true, syntax: '', bytes: 0 } },
    failure: null,
    voi: { kind: 'window', window: { centre: 40, width: 400, shape: 'LINEAR' } },
    userWindow: false,
    inverted: false,
    smooth: true,
    placement: { rotation: 0, flipped: false },
    zoom: 1,
    pan: [0, 0],
    magnification: 1.5,
    playing: false,
    dropped: 0,
    ...change,
  };
}

describe('corners', () => {
  it('say who, where and which image', () => {
    const corners = cornersOf(
      stateOf({
        '00100010': element({ Alphabetic: 'DOE^JANE' }),
        '00100020': element('A1'),
        '00100030': element('19700102'),
        '00100040': element('F'),
        '00180050': element(5),
        '00201041': element(-12.5),
        '00080080': element('St Elsewhere'),
      }),
      null,
    );
    expect(corners?.patient.slice(0, 2)).toEqual(['DOE, JANE', 'ID A1 · 1970-01-02 · F']);
    expect(corners?.study[0]).toBe('St Elsewhere');
    expect(corners?.series).toContain('Loc -12.5 mm');
    expect(corners?.series).toContain('Thk 5 mm · Sp 5 mm');
    expect(corners?.image).toEqual(['Zoom 150 %', 'W 400 L 40 HU', '1/4']);
  });

  it('warn of a missing slice, a flip, a rotation and lossy compression', () => {
    const lossy = { '00282110': element('01'), '00282112': element(12) };
    const corners = cornersOf(stateOf(lossy, { placement: { rotation: 90, flipped: true } }), null);
    expect(corners?.warnings).toEqual(['LOSSY 12:1', 'FLIPPED · ROTATED 90°', 'Slice missing after 1']);
  });

  it('are empty while nothing is on screen', () => {
    expect(cornersOf(stateOf({}, { shown: null }), null)).toBeNull();
  });
});

describe('the window line', () => {
  it('has no unit where none is known, and enough figures for small values', () => {
    const small = { kind: 'window', window: { centre: 0.000264, width: 0.000529, shape: 'LINEAR_EXACT' } } as const;
    expect(windowText(stateOf({ '00080060': element('MR') }, { voi: small }))).toBe('W 0.000529 L 0.000264');
    expect(windowText(stateOf({}, { inverted: true }))).toBe('W 400 L 40 HU · inverted');
  });

  it('names a missing ratio', () => {
    expect(lossyText(frameOf({ '00282110': element('01') }))).toBe('LOSSY, ratio not recorded');
    expect(lossyText(frameOf())).toBe('');
  });
});

describe('a plane', () => {
  const progress = { touched: 60, finals: 12, missing: 0, level: 3, final: false };

  it('says how far it is until it is final', () => {
    expect(progressText(progress)).toBe('PREVIEW · 12 of 60 slices final');
    expect(progressText({ ...progress, touched: 1, finals: 0 })).toBe('PREVIEW 1/8');
    expect(progressText({ ...progress, touched: 1, finals: 0, level: 0 })).toBe('PREVIEW');
    expect(progressText({ ...progress, touched: 1, finals: 0, missing: 1 })).toBe('NOT LOADED');
    expect(progressText({ ...progress, finals: 60, final: true })).toBe('');
  });

  it('has a position towards a side of the patient', () => {
    expect(positionText('axial', 12.34)).toBe('H 12.3 mm');
    expect(positionText('axial', -3)).toBe('F 3.0 mm');
    expect(positionText('coronal', 8)).toBe('P 8.0 mm');
    expect(positionText('coronal', -8)).toBe('A 8.0 mm');
    expect(positionText('sagittal', 1)).toBe('L 1.0 mm');
    expect(positionText('sagittal', -1)).toBe('R 1.0 mm');
    expect(positionText('sagittal', -0.01)).toBe('0.0 mm');
  });

  it('says who, which window, where, and what lies between its slices', () => {
    const lossy = { '00282110': element('01'), '00282112': element(12) };
    const frames = [0, 5, 10].map((z, n) => at(z, n + 1, { '00100020': element('A1'), ...(n === 1 ? lossy : {}) }));
    const { volume } = volumeOf(splitSeries(frames)[0] as Stack) as { volume: Volume };
    const cuts = { axial: cutOf(volume.grid, 'axial'), coronal: cutOf(volume.grid, 'coronal'), sagittal: cutOf(volume.grid, 'sagittal') };
    const lie = { zoom: 1, pan: [0, 0], box: { width: 40, height: 100 } } as const;
    const state: MprState = {
      at: [1, 3, 0],
      active: 'axial',
      voi: { kind: 'window', window: { centre: 40, width: 400, shape: 'LINEAR' } },
      userWindow: false,
      inverted: false,
      smooth: true,
      lies: { axial: lie, coronal: lie, sagittal: lie },
      progress: { axial: progress, coronal: progress, sagittal: progress },
      failed: null,
    };
    const mpr = { volume, cuts, unit: 'HU', frame: () => volume.stack.frames[0] as ReturnType<typeof frameOf> };
    const coronal = planeCorners(mpr, state, 'coronal', null);
    expect(coronal.patient).toContain('ID A1');
    expect(coronal.image).toEqual(['Zoom 333 %', 'W 400 L 40 HU', 'P 1.5 mm', '4/4']);
    expect(coronal.series).toContain('interpolated · Sp 5 mm');
    expect(coronal.warnings).toEqual(['LOSSY 12:1']);
    expect(planeCorners(mpr, { ...state, smooth: false }, 'coronal', null).series).toContain('nearest slice · Sp 5 mm');
    const axial = planeCorners(mpr, state, 'axial', null);
    expect(axial.image.slice(-2)).toEqual(['H 10.0 mm', '1/3']);
    expect(axial.series).toContain('as recorded · Sp 5 mm');
  });
});
