import { describe, expect, it } from 'vitest';
import { directionLabel, edgeLabels, oppositeLabel, patientOrientation, planeAxes } from '../../src/geometry/orientation';
import { flipHorizontal, flipVertical, rotateClockwise, screenAxes, UPRIGHT, type Placement, type Rotation } from '../../src/geometry/view';

const AXIAL = [1, 0, 0, 0, 1, 0];
const CORONAL = [1, 0, 0, 0, 0, -1];
const SAGITTAL = [0, 1, 0, 0, 0, -1];

/** A picture of labelled corners, turned as pixels: independent of the code under test. */
type Grid = string[][];
const grid = (top: string, right: string, bottom: string, left: string): Grid => [
  ['', top, ''],
  [left, '', right],
  ['', bottom, ''],
];
const mirrorX = (g: Grid): Grid => g.map((row) => [...row].reverse());
const turn = (g: Grid): Grid => g.map((row, r) => row.map((_, c) => g[row.length - 1 - c]?.[r] ?? ''));

function turned(g: Grid, placement: Placement): Grid {
  let out = placement.flipped ? mirrorX(g) : g;
  for (let angle = 0; angle < placement.rotation; angle += 90) out = turn(out);
  return out;
}

const PLACEMENTS: Placement[] = [0, 90, 180, 270].flatMap((rotation) =>
  [false, true].map((flipped) => ({ rotation: rotation as Rotation, flipped })),
);

describe('edge labels', () => {
  const planes = [
    { name: 'axial', iop: AXIAL, base: grid('A', 'L', 'P', 'R') },
    { name: 'coronal', iop: CORONAL, base: grid('H', 'L', 'F', 'R') },
    { name: 'sagittal', iop: SAGITTAL, base: grid('H', 'P', 'F', 'A') },
  ];
  for (const { name, iop, base } of planes) {
    it.each(PLACEMENTS)(`${name} with rotation $rotation, flipped $flipped, equals the turned picture`, (placement) => {
      const truth = turned(base, placement);
      expect(edgeLabels(planeAxes(iop), placement)).toEqual({
        top: truth[0]?.[1],
        right: truth[1]?.[2],
        bottom: truth[2]?.[1],
        left: truth[1]?.[0],
      });
    });
  }

  it.each(PLACEMENTS)('PatientOrientation follows rotation $rotation, flipped $flipped', (placement) => {
    const truth = turned(grid('HR', 'P', 'FL', 'A'), placement);
    expect(edgeLabels(patientOrientation(['P', 'FL']), placement)).toEqual({
      top: truth[0]?.[1],
      right: truth[1]?.[2],
      bottom: truth[2]?.[1],
      left: truth[1]?.[0],
    });
  });

  it('are never guessed', () => {
    expect(planeAxes(null)).toBeNull();
    expect(planeAxes([1, 0, 0, 0, 1])).toBeNull();
    expect(planeAxes([1, 0, 0, 1, 0, 0])).toBeNull();
    expect(planeAxes([0, 0, 0, 0, 0, 0])).toBeNull();
    expect(planeAxes([1, 0, 0, 0, NaN, 0])).toBeNull();
    expect(patientOrientation(['L'])).toBeNull();
    expect(patientOrientation(['L', 'CAUDAL'])).toBeNull();
    expect(edgeLabels(null, UPRIGHT)).toBeNull();
  });
});

describe('direction labels', () => {
  it('name oblique directions by their largest part first', () => {
    expect(directionLabel([0.8, -0.6, 0])).toBe('LA');
    expect(directionLabel([-0.1, 0.3, -0.95])).toBe('FP');
    expect(directionLabel([0, 0, 0])).toBe('');
    expect(oppositeLabel('FP')).toBe('HA');
  });
});

describe('commands turn what is on the screen', () => {
  it.each(PLACEMENTS)('from rotation $rotation, flipped $flipped', (placement) => {
    const base = grid('t', 'r', 'b', 'l');
    const before = turned(base, placement);
    expect(turned(base, rotateClockwise(placement))).toEqual(turn(before));
    expect(turned(base, flipHorizontal(placement))).toEqual(mirrorX(before));
    expect(turned(base, flipVertical(placement))).toEqual([...before].reverse());
  });

  it('a mirrored placement changes the handedness of the screen, a rotation does not', () => {
    for (const placement of PLACEMENTS) {
      const { right, down } = screenAxes(placement);
      expect(right[0] * down[1] - right[1] * down[0]).toBe(placement.flipped ? -1 : 1);
    }
  });
});
