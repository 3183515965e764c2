import { describe, expect, it } from 'vitest';
import { formatAgo, formatDate, formatName, formatNumber, formatSpan, formatTime, plural } from '../../src/ui/format';

describe('person names', () => {
  it.each([
    ['DOE^JANE', 'DOE, JANE'],
    ['DOE^JANE^Q^DR^JR', 'DOE, DR JANE Q, JR'],
    ['DOE', 'DOE'],
    ['Yamada^Tarou=山田^太郎=やまだ^たろう', 'Yamada, Tarou (山田 太郎)'],
    ['=山田^太郎', '山田 太郎'],
    ['^^^^', ''],
    ['', ''],
    [null, ''],
  ])('%s is written %s', (value, shown) => expect(formatName(value)).toBe(shown));
});

describe('dates and times stay as recorded', () => {
  it.each([
    ['20240131', '2024-01-31'],
    ['2024.01.31', '2024-01-31'],
    ['20241399', '2024-13-99'],
    ['31/01/2024', '31/01/2024'],
    ['', ''],
  ])('date %s', (value, shown) => expect(formatDate(value)).toBe(shown));

  it.each([
    ['134502.123456', '13:45:02'],
    ['1345', '13:45'],
    ['13:45:02', '13:45:02'],
    ['noon', 'noon'],
    ['', ''],
  ])('time %s', (value, shown) => expect(formatTime(value)).toBe(shown));
});

it.each([
  [0, '0 s', 'just now'],
  [4_999, '4 s', 'just now'],
  [59_999, '59 s', '59 s ago'],
  [60_000, '1 min', '1 min ago'],
  [7_199_000, '1 h', '1 h ago'],
  [86_400_000 * 1200, '1,200 d', '1,200 d ago'],
  [-5_000, '0 s', 'just now'],
])('a span of %d ms', (span, text, ago) => {
  expect(formatSpan(span)).toBe(text);
  expect(formatAgo(span)).toBe(ago);
});

it('numbers lose only empty decimals', () => {
  expect(formatNumber(1.5, 2)).toBe('1.5');
  expect(formatNumber(100, 0)).toBe('100');
  expect(formatNumber(-0.001, 1)).toBe('0');
  expect(plural(1, 'image')).toBe('1 image');
  expect(plural(1200, 'image')).toBe('1,200 images');
});
