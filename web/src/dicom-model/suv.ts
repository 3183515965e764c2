/**
 * Body-weight SUV of PET (clinical 5): shown only when every needed value is there and plausible.
 * Otherwise the image stays in its own unit and says why.
 */
import type { Dataset } from './dataset';

export type SuvScale =
  | { readonly ok: true; readonly factor: number }
  | { readonly ok: false; readonly reason: string };

const refuse = (reason: string): SuvScale => ({ ok: false, reason });

/** Milliseconds since the epoch of a DA + TM pair read as the same wall clock; null if invalid. */
export function wallClock(date: string | null, time: string | null): number | null {
  const d = /^(\d{4})(\d{2})(\d{2})$/.exec(date ?? '');
  const t = /^(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?$/.exec(time ?? '');
  if (!d || !t) return null;
  const seconds = Number(t[3] ?? 0) + Number(t[4] ?? 0);
  return (
    Date.UTC(Number(d[1]), Number(d[2]) - 1, Number(d[3]), Number(t[1]), Number(t[2] ?? 0)) +
    seconds * 1000
  );
}

/** Moment of injection: the DT attribute, else the TM on the series date (a day back if later). */
function injection(d: Dataset, drug: Dataset, scan: number): number | null {
  const full = drug.string('00181078');
  if (full) return wallClock(full.slice(0, 8), full.slice(8).replace(/[+-]\d{4}$/, ''));
  const sameDay = wallClock(d.string('00080021'), drug.string('00181072'));
  if (sameDay === null) return null;
  return sameDay > scan ? sameDay - 86_400_000 : sameDay;
}

/** Factor from Bq/ml to g/ml for one PET instance, or the reason there is none. */
export function suvScale(d: Dataset): SuvScale {
  const unit = d.string('00541001');
  if (unit === 'GML') return { ok: true, factor: 1 };
  if (unit !== 'BQML') return refuse(`units are ${unit ?? 'missing'}, not BQML`);
  const decay = d.string('00541102');
  if (decay !== 'START') return refuse(`decay correction is ${decay ?? 'missing'}, not START`);
  const weight = d.number('00101030');
  if (!weight || weight < 0.3 || weight > 500) return refuse('patient weight missing or implausible');
  const drug = d.item('00540016');
  const dose = drug?.number('00181074');
  const halfLife = drug?.number('00181075');
  if (!drug || !dose || dose < 1e4 || dose > 1e11) return refuse('injected dose missing or implausible');
  if (!halfLife || halfLife < 10) return refuse('half-life missing or implausible');
  const scan = wallClock(d.string('00080021'), d.string('00080031'));
  if (scan === null) return refuse('series date or time missing');
  const start = injection(d, drug, scan);
  if (start === null) return refuse('injection time missing');
  const elapsed = (scan - start) / 1000;
  if (elapsed < 0 || elapsed > 86_400) return refuse('injection and scan times do not fit');
  const left = dose * 2 ** (-elapsed / halfLife);
  return { ok: true, factor: (weight * 1000) / left };
}
