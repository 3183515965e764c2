import { expect, it } from 'vitest';
import { frameAt } from '../../src/viewport/cine';

it('a film runs by the clock and wraps', () => {
  expect(frameAt(0, 3, 10, [40])).toEqual({ step: 0, index: 3 });
  expect(frameAt(39, 3, 10, [40])).toEqual({ step: 0, index: 3 });
  expect(frameAt(400, 3, 10, [40])).toEqual({ step: 10, index: 3 });
  expect(frameAt(300, 9, 10, [40])).toEqual({ step: 7, index: 6 });
});

it('a frame time vector gives each frame its own duration', () => {
  expect(frameAt(9, 0, 3, [10, 30, 20])).toEqual({ step: 0, index: 0 });
  expect(frameAt(10, 0, 3, [10, 30, 20])).toEqual({ step: 1, index: 1 });
  expect(frameAt(39, 0, 3, [10, 30, 20])).toEqual({ step: 1, index: 1 });
  expect(frameAt(60, 0, 3, [10, 30, 20])).toEqual({ step: 3, index: 0 });
});

it('an absurd rate is held to what a screen can show', () => {
  expect(frameAt(1000, 0, 1000, [0.001]).step).toBeLessThanOrEqual(120);
});
