import { describe, expect, it } from 'vitest';
import { codestreamShape, finestLevel } from '../../src/dicom-model/codestream';
import { codestream } from './codestreams';

describe('shape of a settled codestream', () => {
  const whole = codestream(512, 300, [10, 20, 30]);
  const shape = codestreamShape(whole);

  it('says size, levels and where each resolution ends', () => {
    expect(shape).toMatchObject({ columns: 512, rows: 300, components: 1, levels: 2, whole: true });
    expect(shape?.ends).toEqual(shape?.planned);
    expect(shape?.ends.at(-1)).toBe(whole.length - 2);
  });

  it('counts only resolutions that are there in full', () => {
    const [first, second] = shape?.planned as number[];
    const at = (length: number): number | null => {
      const prefix = codestreamShape(whole.subarray(0, length));
      return prefix && finestLevel(prefix);
    };
    expect(at(first as number)).toBe(2);
    expect(at((second as number) - 1)).toBe(2);
    expect(at(second as number)).toBe(1);
    expect(at((first as number) - 1)).toBeNull();
    expect(codestreamShape(whole.subarray(0, whole.length - 2))).toMatchObject({ whole: false });
  });

  it('takes nothing else for one, and survives every cut and flipped byte', () => {
    expect(codestreamShape(new Uint8Array())).toBeNull();
    expect(codestreamShape(Uint8Array.from([0xff, 0xd8, 0xff, 0xe0]))).toBeNull();
    for (let i = 0; i < whole.length; i += 1) {
      codestreamShape(whole.subarray(0, i));
      const bent = whole.slice();
      bent[i] = 0xff;
      codestreamShape(bent);
    }
  });
});
