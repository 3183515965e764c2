import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Motion, REST_MS } from '../../src/viewport/motion';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const motion = (): { rested: () => void; motion: Motion } => {
  const rested = vi.fn<() => void>();
  return { rested, motion: new Motion(rested, () => Date.now()) };
};

test('one step alone is no movement', () => {
  const one = motion();
  one.motion.step();
  expect(one.motion.moving).toBe(false);
  vi.advanceTimersByTime(10 * REST_MS);
  one.motion.step();
  expect(one.motion.moving).toBe(false);
  expect(one.rested).not.toHaveBeenCalled();
});

test('steps in quick succession are one movement, which ends once', () => {
  const one = motion();
  for (let k = 0; k < 20; k += 1) {
    one.motion.step();
    vi.advanceTimersByTime(REST_MS / 3);
    expect(one.motion.moving).toBe(k > 0);
  }
  expect(one.rested).not.toHaveBeenCalled();
  vi.advanceTimersByTime(REST_MS);
  expect(one.motion.moving).toBe(false);
  expect(one.rested).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(10 * REST_MS);
  expect(one.rested).toHaveBeenCalledTimes(1);
});

test('a slow hand is not moving: every image it comes to is loaded', () => {
  const one = motion();
  for (let k = 0; k < 5; k += 1) {
    one.motion.step();
    expect(one.motion.moving).toBe(false);
    vi.advanceTimersByTime(REST_MS + 1);
  }
});

test('who leaves in the middle is not called back', () => {
  const one = motion();
  one.motion.step();
  one.motion.step();
  one.motion.stop();
  vi.advanceTimersByTime(10 * REST_MS);
  expect(one.motion.moving).toBe(false);
  expect(one.rested).not.toHaveBeenCalled();
});
