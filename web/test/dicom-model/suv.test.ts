import { describe, expect, it } from 'vitest';
import { Dataset } from '../../src/dicom-model/dataset';
import { suvScale, wallClock } from '../../src/dicom-model/suv';
import { element } from './objects';

const drug = (extra: Record<string, unknown> = {}): object => ({
  Value: [{ '00181072': element('100000'), '00181074': element(3.7e8), '00181075': element(6588), ...extra }],
});

const pet = (extra: Record<string, unknown> = {}): Dataset =>
  Dataset.of({
    '00541001': element('BQML'),
    '00541102': element('START'),
    '00101030': element(70),
    '00080021': element('20240102'),
    '00080031': element('110000'),
    '00540016': drug(),
    ...extra,
  });

describe('body-weight SUV', () => {
  it('divides by the dose that is left at the scan', () => {
    const scale = suvScale(pet());
    const left = 3.7e8 * 2 ** (-3600 / 6588);
    expect(scale.ok && scale.factor).toBeCloseTo(70_000 / left, 12);
  });

  it('takes an injection "after" the scan for the evening before', () => {
    const scale = suvScale(pet({ '00080031': element('003000'), '00540016': drug({ '00181072': element('233000') }) }));
    expect(scale.ok && scale.factor).toBeCloseTo(70_000 / (3.7e8 * 2 ** (-3600 / 6588)), 12);
  });

  it.each([
    ['units', { '00541001': element('CNTS') }],
    ['decay', { '00541102': element('NONE') }],
    ['weight', { '00101030': element(0) }],
    ['weight', { '00101030': element() }],
    ['dose', { '00540016': drug({ '00181074': element(370) }) }],
    ['half-life', { '00540016': drug({ '00181075': element() }) }],
    ['injection', { '00540016': drug({ '00181072': element('noon') }) }],
    ['series date', { '00080031': element('') }],
  ])('says that the %s is at fault rather than guess', (word, extra) => {
    const scale = suvScale(pet(extra));
    expect(scale.ok ? '' : scale.reason).toContain(word);
  });
});

it('a wall clock needs a whole date and at least an hour', () => {
  expect(wallClock('20240102', '10')).toBe(Date.UTC(2024, 0, 2, 10));
  expect(wallClock('20240102', '101530.5')).toBe(Date.UTC(2024, 0, 2, 10, 15, 30, 500));
  expect(wallClock('2024', '10')).toBeNull();
  expect(wallClock('20240102', '')).toBeNull();
});
