/** Recorded values as people read them. Nothing is converted: dates and times stay as recorded. */

/** "DOE^JANE^Q^DR" -> "DOE, DR JANE Q": the order changes, the letters stay as recorded. */
function formatNameGroup(group: string): string {
  const [family = '', given = '', middle = '', prefix = '', suffix = ''] = group
    .split('^')
    .map((part) => part.trim());
  const first = [prefix, given, middle].filter(Boolean).join(' ');
  return [family, first, suffix].filter(Boolean).join(', ');
}

/** Person name (PS3.5 6.2, VR PN): the alphabetic group, then the ideographic one in brackets. */
export function formatName(value: string | null | undefined): string {
  const [alphabetic = '', ideographic = ''] = (value ?? '').split('=');
  const shown = formatNameGroup(alphabetic);
  const native = ideographic.replaceAll('^', ' ').trim();
  if (shown && native && native !== shown) return `${shown} (${native})`;
  return shown || native;
}

/** DA "20240131" -> "2024-01-31"; anything else is shown exactly as recorded. */
export function formatDate(value: string | null | undefined): string {
  const text = (value ?? '').trim();
  const match = /^(\d{4})(\d{2})(\d{2})$/.exec(text) ?? /^(\d{4})\.(\d{2})\.(\d{2})$/.exec(text);
  return match ? `${match[1]}-${match[2]}-${match[3]}` : text;
}

/** TM "134502.123" -> "13:45:02"; "1345" -> "13:45"; anything else as recorded. */
export function formatTime(value: string | null | undefined): string {
  const text = (value ?? '').trim();
  const match = /^(\d{2}):?(\d{2})(?::?(\d{2}))?(?:\.\d{1,6})?$/.exec(text);
  if (!match) return text;
  return match[3] ? `${match[1]}:${match[2]}:${match[3]}` : `${match[1]}:${match[2]}`;
}

/** At most `digits` decimals, without trailing zeros: 1.50 -> "1.5", 2.00 -> "2". */
export function formatNumber(value: number, digits = 1): string {
  const text = value.toFixed(digits);
  return text.includes('.') ? text.replace(/\.?0+$/, '').replace(/^-0$/, '0') : text;
}

/** 1234567 -> "1,234,567" in every locale, so that a screenshot reads the same everywhere. */
export const formatCount = (n: number): string => n.toLocaleString('en-US');

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${formatCount(n)} ${n === 1 ? one : many}`;

const STEPS: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
];

/** A span of time in its largest whole unit: "12 s", "3 min", "5 h", "2 d"; less than a second is "0 s". */
export function formatSpan(milliseconds: number): string {
  const [size, unit] = STEPS.find(([each]) => milliseconds >= each) ?? [1_000, 's'];
  return `${formatCount(Math.max(0, Math.floor(milliseconds / size)))} ${unit}`;
}

/** How long ago: "just now" for less than five seconds, then "12 s ago". */
export const formatAgo = (milliseconds: number): string =>
  milliseconds < 5_000 ? 'just now' : `${formatSpan(milliseconds)} ago`;
