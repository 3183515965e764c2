import { describe, expect, it } from 'vitest';
import { affineFor, cameraFor, fitScale, flipHorizontal, flipVertical, magnification, panForZoomAt, pixelUnder, rotateClockwise, UPRIGHT, type Placement } from '../../src/geometry/view';

const image = { columns: 100, rows: 50, spacing: [2, 2] as const };
const canvas = { width: 400, height: 400 };

describe('fit', () => {
  it('is bound by the longer side, also when turned', () => {
    expect(fitScale(image, canvas, UPRIGHT)).toBe(0.5);
    expect(fitScale(image, { width: 400, height: 100 }, UPRIGHT)).toBe(1);
    expect(fitScale(image, { width: 400, height: 100 }, { rotation: 90, flipped: false })).toBe(2);
  });

  it('keeps the shape of pixels that are not square', () => {
    const flat = { columns: 100, rows: 100, spacing: [1, 3] as const };
    expect(fitScale(flat, canvas, UPRIGHT)).toBe(0.75);
  });
});

describe('camera', () => {
  it('looks at the middle of the image, half a canvas high', () => {
    const camera = cameraFor(image, canvas, UPRIGHT, 1, [0, 0]);
    expect(camera.focalPoint).toEqual([99, 49, 0]);
    expect(camera.parallelScale).toBe(100);
    expect(camera.viewUp).toEqual([-0, -1, 0]);
    expect(camera.viewPlaneNormal).toEqual([0, 0, -1]);
  });

  it('stands on the other side of a mirrored image', () => {
    const flipped: Placement = { rotation: 0, flipped: true };
    expect(cameraFor(image, canvas, flipped, 1, [0, 0]).viewPlaneNormal).toEqual([0, 0, 1]);
  });

  it('moves against the pan, in screen directions', () => {
    const [x, y] = cameraFor(image, canvas, UPRIGHT, 1, [10, 20]).focalPoint;
    expect([x, y]).toEqual([94, 39]);
    const turned = cameraFor(image, canvas, { rotation: 90, flipped: false }, 1, [10, 0]).focalPoint;
    expect(turned[1]).toBeGreaterThan(49);
  });
});

describe('the affine map', () => {
  const odd = { columns: 100, rows: 60, spacing: [2, 3] as const };
  const window = { width: 640, height: 360 };
  const placements = ([0, 90, 180, 270] as const).flatMap((rotation) => [true, false].map((flipped) => ({ rotation, flipped })));

  it.each(placements)('shows what the camera shows: %o', (placement) => {
    for (const [zoom, pan] of [[1, [0, 0]], [2.5, [30, -12]]] as const) {
      const [a, b, c, d, e, f] = affineFor(odd, window, placement, zoom, pan);
      const { focalPoint, viewUp, viewPlaneNormal, parallelScale } = cameraFor(odd, window, placement, zoom, pan);
      // The camera's own right: up x normal.
      const right = [viewUp[1] * viewPlaneNormal[2], -viewUp[0] * viewPlaneNormal[2]] as const;
      const k = window.height / 2 / parallelScale;
      for (const [u, v] of [[0, 0], [100, 0], [100, 60], [37, 12.5]] as const) {
        const [x, y] = [(u - 0.5) * 2 - focalPoint[0], (v - 0.5) * 3 - focalPoint[1]];
        expect(a * u + c * v + e).toBeCloseTo(window.width / 2 + (x * right[0] + y * right[1]) * k, 9);
        expect(b * u + d * v + f).toBeCloseTo(window.height / 2 - (x * viewUp[0] + y * viewUp[1]) * k, 9);
      }
    }
  });
});

describe('zoom', () => {
  it('tells the screen pixels of an image pixel', () => {
    expect(magnification(image, canvas, UPRIGHT, 1)).toBe(4);
    expect(magnification(image, canvas, UPRIGHT, 0.25)).toBe(1);
  });

  it('keeps the point under the pointer where it is', () => {
    const pan = panForZoomAt([5, -3], 1, 2, [40, 10]);
    expect((40 - 5) * 2 + pan[0]).toBe(40 * 1 + 0);
    expect((10 + 3) * 2 + pan[1]).toBe(10);
  });
});

describe('what lies under a point of the screen', () => {
  const image = { columns: 40, rows: 30, spacing: [0.7, 2.5] } as const;
  it.each(['', 'h', 'v', 'r', 'rr', 'hr', 'vrrr'])('is the pixel that is drawn there, after %s', (keys) => {
    const turns = { h: flipHorizontal, v: flipVertical, r: rotateClockwise } as const;
    const placement = [...keys].reduce((p, key) => turns[key as 'h'](p), UPRIGHT);
    const map = affineFor(image, { width: 300, height: 500 }, placement, 1.7, [12, -30]);
    const [a, b, c, d, e, f] = map;
    const [x, y] = [7.25, 21.5];
    const found = pixelUnder(map, [a * x + c * y + e, b * x + d * y + f]);
    expect(found[0]).toBeCloseTo(x, 9);
    expect(found[1]).toBeCloseTo(y, 9);
  });
});
