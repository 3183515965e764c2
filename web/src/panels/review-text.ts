/** An opening in words. Pure. */
import type { Opening } from '../client/glass';
import { formatSpan } from '../ui/format';

type Tone = 'quiet' | 'info' | 'warn' | 'danger';

export function stateName(opening: Opening): string {
  if (opening.verdict !== null) return opening.verdict === 'justified' ? 'Justified' : 'Not justified';
  if (opening.state === 'open') return 'Open now';
  return opening.overdue ? 'Overdue' : 'To review';
}

export function stateTone(opening: Opening): Tone {
  if (opening.verdict !== null) return opening.verdict === 'justified' ? 'quiet' : 'danger';
  if (opening.state === 'open') return 'danger';
  return opening.overdue ? 'warn' : 'info';
}

/** How long it was open, or is. `now`: the server's clock. */
export function durationText(opening: Opening, now: number): string {
  const until = opening.ended ?? Math.min(now, opening.until);
  const span = formatSpan(until - opening.since);
  return opening.state === 'open' ? `open for ${span}` : `was open for ${span}`;
}

/** How it ended: by its time, by whoever opened it, or by somebody else. */
export function endText(opening: Opening): string {
  if (opening.ended === null) return '';
  if (opening.endedBy === 'time') return 'ended by its time';
  if (opening.endedBy === `person:${opening.by}`) return `ended by ${opening.by}`;
  return opening.endedBy.startsWith('system:') ? 'ended with the session' : `ended by ${opening.endedBy.replace(/^person:/, '')}`;
}
