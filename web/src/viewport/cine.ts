/** Playing a film at its recorded rate (clinical 6): by the clock, with dropped frames counted. */

export interface Film {
  readonly frames: number;
  /** Duration of each step in ms; one value means all the same. */
  readonly times: readonly number[];
  /** Show a frame and the count so far; false when it is not here yet, which counts as dropped. */
  show(index: number, dropped: number): boolean;
}

const FASTEST = 1000 / 120;

/** Steps passed after `elapsed` ms from frame `start`, and the frame that should be on screen. */
export function frameAt(
  elapsed: number,
  start: number,
  frames: number,
  times: readonly number[],
): { step: number; index: number } {
  const step = (i: number): number => Math.max(FASTEST, times[i % times.length] ?? 66);
  if (times.length <= 1) {
    const passed = Math.floor(elapsed / step(0));
    return { step: passed, index: (start + passed) % frames };
  }
  let at = start;
  let passed = 0;
  for (let left = elapsed - step(at); left >= 0; left -= step(at)) {
    at = (at + 1) % frames;
    passed += 1;
  }
  return { step: passed, index: at };
}

/** Play until the returned function is called. */
export function play(film: Film, start: number): () => void {
  let from = performance.now();
  let origin = start;
  let lastStep = 0;
  let dropped = 0;
  let handle = 0;
  const tick = (now: number): void => {
    const { step, index } = frameAt(Math.max(0, now - from), origin, film.frames, film.times);
    if (step > lastStep) {
      dropped += step - lastStep - 1;
      if (!film.show(index, dropped)) dropped += 1;
      lastStep = step;
    }
    if (now - from > 60_000) {
      // A fresh origin now and then keeps the walk over a frame time vector short.
      [from, origin, lastStep] = [now, index, 0];
    }
    handle = requestAnimationFrame(tick);
  };
  handle = requestAnimationFrame(tick);
  return () => cancelAnimationFrame(handle);
}
