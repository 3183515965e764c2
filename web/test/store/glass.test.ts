import { describe, expect, it } from 'vitest';
import { readOpening, type Opening } from '../../src/client/glass';
import { isReason, reasonHint } from '../../src/panels/reason';
import { durationText, endText, stateName, stateTone } from '../../src/panels/review-text';
import { countdown, openNow, skewOf, timeLeft } from '../../src/store/clock-of-glass';
import { replaced } from '../../src/store/reviews';

const MINUTE = 60_000;
const opening = (part: Partial<Opening> = {}): Opening => ({
  ...readOpening({ id: 'a', by: 'ada', state: 'unreviewed', patient_id: '4711', since: '2026-11-30T10:00:00Z', until: '2026-11-30T11:00:00Z' }),
  ...part,
});

describe('what is open', () => {
  it('is over by the clock of the server, not by that of this machine', () => {
    const standing = { now: 0, open: opening(), sealed: false, mayBreak: true, counts: null };
    const { until } = standing.open;
    expect(openNow({ standing, skew: 0 }, until - 1)).toBe(standing.open);
    expect(openNow({ standing, skew: 0 }, until)).toBeNull();
    // This machine is ten minutes behind.
    expect(openNow({ standing, skew: 10 * MINUTE }, until - 10 * MINUTE)).toBeNull();
    expect(timeLeft(standing.open, 10 * MINUTE, until - 11 * MINUTE)).toBe(MINUTE);
    expect(timeLeft(standing.open, 0, until + MINUTE)).toBe(0);
    expect(timeLeft(standing.open, 0, until - 61 * MINUTE)).toBe(60 * MINUTE);
    expect(skewOf(1_000, 400, 600)).toBe(500);
  });

  it('counts down in minutes and seconds, to 0:00 only at the end', () => {
    expect(countdown(60 * MINUTE)).toBe('60:00');
    expect(countdown(59 * MINUTE + 6_001)).toBe('59:07');
    expect(countdown(1)).toBe('0:01');
    expect(countdown(0)).toBe('0:00');
  });
});

describe('a reason', () => {
  it('is a sentence of 10 to 500 characters; blanks are none', () => {
    expect(isReason('because')).toBe(false);
    expect(reasonHint('because')).toBe('Too short by 3 characters: at least 10.');
    expect(reasonHint('')).toMatch(/^At least 10 characters/);
    expect(reasonHint('because it is so')).toMatch(/^At least 10 characters/);
    expect(isReason(`be${' '.repeat(20)}cause`)).toBe(false);
    expect(isReason('Stroke, no other physician here.')).toBe(true);
    expect(isReason('x'.repeat(501))).toBe(false);
  });
});

describe('an answer of the server', () => {
  it('is read with care', () => {
    expect(readOpening(null)).toMatchObject({ id: '', state: 'unreviewed', verdict: null, ended: null, sealed: false });
    expect(readOpening({ kind: 'seal', verdict: 'maybe', state: 'odd' })).toMatchObject({ sealed: true, verdict: null, state: 'unreviewed' });
  });
});

describe('an opening in words', () => {
  it('says its state', () => {
    expect([stateName(opening({ state: 'open' })), stateTone(opening({ state: 'open' }))]).toEqual(['Open now', 'danger']);
    expect([stateName(opening()), stateTone(opening())]).toEqual(['To review', 'info']);
    expect(stateName(opening({ overdue: true }))).toBe('Overdue');
    expect(stateTone(opening({ verdict: 'not-justified' }))).toBe('danger');
    expect(stateName(opening({ verdict: 'justified', overdue: true }))).toBe('Justified');
  });

  it('says how long and how it ended', () => {
    const one = opening();
    expect(durationText({ ...one, state: 'open' }, one.since + 5 * MINUTE)).toBe('open for 5 min');
    expect(durationText({ ...one, ended: one.since + 9 * MINUTE }, one.until)).toBe('was open for 9 min');
    expect(durationText(one, one.until + 500 * MINUTE)).toBe('was open for 1 h');
    expect(endText(one)).toBe('');
    expect(endText({ ...one, ended: 1, endedBy: 'time' })).toBe('ended by its time');
    expect(endText({ ...one, ended: 1, endedBy: 'person:ada' })).toBe('ended by ada');
    expect(endText({ ...one, ended: 1, endedBy: 'person:rev' })).toBe('ended by rev');
    expect(endText({ ...one, ended: 1, endedBy: 'system:idle for too long' })).toBe('ended with the session');
  });
});

describe('a list of openings', () => {
  it('shows a judged one no longer where only those without a verdict stand', () => {
    const [a, b] = [opening(), opening({ id: 'b' })];
    const judged = opening({ state: 'reviewed', verdict: 'justified' });
    expect(replaced([a, b], judged, 'unreviewed')).toEqual([b]);
    expect(replaced([a, b], judged, null)).toEqual([judged, b]);
    expect(replaced([a, b], opening({ state: 'unreviewed', ended: 5 }), 'unreviewed')[0]?.ended).toBe(5);
  });
});
