/** What is open by the server's clock, as this machine's clock goes. Pure. */
import type { Opening, Standing } from '../client/glass';

export interface GlassState {
  readonly standing: Standing | null;
  /** The server's clock minus this machine's, in milliseconds. */
  readonly skew: number;
}

/** What is open now, by this machine's clock. */
export const openNow = ({ standing, skew }: GlassState, now: number): Standing['open'] =>
  standing?.open && now + skew < standing.open.until ? standing.open : null;

/** Milliseconds until it is over by itself: never more than it was opened for, however the clocks go. */
export const timeLeft = ({ since, until }: Pick<Opening, 'since' | 'until'>, skew: number, now: number): number =>
  Math.min(until - since, Math.max(0, until - (now + skew)));

/** The server's clock minus this machine's, when `now` was said between these two moments here. */
export const skewOf = (now: number, asked: number, answered: number): number => now - (asked + answered) / 2;

/** "59:07": minutes and seconds, rounded up so that it is 0:00 only when it is over. */
export function countdown(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
