import { describe, expect, it } from 'vitest';
import { splitSeries } from '../../src/dicom-model/stacks';
import { at, element, framesOf, slice } from './objects';

const sizes = (stacks: ReturnType<typeof splitSeries>): [string, number][] =>
  stacks.map((stack) => [stack.label, stack.frames.length]);

describe('splitting a series', () => {
  it('keeps one volume together and sorts it from head to foot', () => {
    const [stack, ...others] = splitSeries([at(0, 1), at(10, 2), at(5, 3)]);
    expect(others).toEqual([]);
    expect(stack?.frames.map((frame) => frame.position?.[2])).toEqual([10, 5, 0]);
  });

  it('puts a localizer apart, last', () => {
    const scout = at(0, 1, {
      '00080008': element('ORIGINAL', 'PRIMARY', 'LOCALIZER'),
      '00200037': element(1, 0, 0, 0, 0, -1),
    });
    expect(sizes(splitSeries([scout, at(0, 2), at(5, 3)]))).toEqual([
      ['', 2],
      ['localizer', 1],
    ]);
  });

  it('by orientation, matrix and frame of reference', () => {
    const stacks = splitSeries([
      at(0, 1),
      at(0, 2, { '00200037': element(0, 1, 0, 0, 0, -1) }),
      at(0, 3, { '00280010': element(8) }),
      at(0, 4, { '00200052': element('1.10') }),
    ]);
    expect(stacks).toHaveLength(4);
  });

  it('by b-value, then by echo, where slices lie on top of each other', () => {
    const frames = [0, 5].flatMap((z, i) => [
      at(z, 10 + i, { '00189087': element(0) }),
      at(z, 20 + i, { '00189087': element(1000) }),
    ]);
    expect(sizes(splitSeries(frames))).toEqual([
      ['b 0', 2],
      ['b 1000', 2],
    ]);
    const echoes = [1, 2].flatMap((echo) =>
      [0, 5].map((z) => at(z, 10 * echo + z, { '00180086': element(echo) })),
    );
    expect(sizes(splitSeries(echoes))).toEqual([
      ['echo 1', 2],
      ['echo 2', 2],
    ]);
  });

  it('keeps one place seen many times together, in the order of the numbers', () => {
    const [stack, ...others] = splitSeries([3, 1, 2].map((n) => at(0, n, { '00200100': element(n) })));
    expect(others).toEqual([]);
    expect(stack?.frames.map((frame) => frame.instanceNumber)).toEqual([1, 2, 3]);
  });

  it('not by an acquisition number that merely counts slices', () => {
    expect(splitSeries([1, 2, 3].map((n) => at(n, n, { '00200012': element(n) })))).toHaveLength(1);
  });

  it('by turn when only the numbers tell volumes apart', () => {
    const frames = [1, 2, 3, 4].map((n) => at(n % 2, n));
    expect(sizes(splitSeries(frames))).toEqual([
      ['volume 1 by number', 2],
      ['volume 2 by number', 2],
    ]);
    // One image more at one place: no split can be right, so none is made.
    expect(splitSeries([...frames, at(0, 5)])).toHaveLength(1);
  });

  it('makes each multi-frame object without positions a film', () => {
    const film = (sop: string) =>
      framesOf(slice({ '00080018': element(sop), '00280008': element(3), '00200032': element(), '00200037': element() }));
    const stacks = splitSeries([...film('1.7'), ...film('1.8')]);
    expect(stacks.map((stack) => [stack.cine, stack.frames.length])).toEqual([
      [true, 3],
      [true, 3],
    ]);
    expect(stacks[0]?.frames.map((frame) => frame.frame)).toEqual([1, 2, 3]);
  });

  it('of nothing is nothing', () => {
    expect(splitSeries([])).toEqual([]);
  });
});
