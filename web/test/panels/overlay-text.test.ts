import { describe, expect, it } from 'vitest';
import { greyPixels } from '../../src/dicom-model/pixels';
import { splitSeries } from '../../src/dicom-model/stacks';
import { cornersOf, lossyText, windowText } from '../../src/panels/overlay-text';
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
