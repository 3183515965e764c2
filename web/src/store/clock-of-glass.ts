/** What is open by the server's clock, as this machine's clock goes. Pure. */
import type { Standing } from '../client/glass';

export interface GlassState {
  readonly standing: Standing | null;
  /** The server's clock minus this machine's, in milliseconds. */
  readonly skew: number;
}

/** What is open now, by this machine's clock. */
export const openNow = ({ standing, skew }: GlassState, now: number): Standing['open'] =>
  standing?.open && now + skew < standing.open.until ? standing.open : null;

/** Milliseconds until it is over by itself. */
export const timeLeft = (until: number, skew: number, now: number): number => Math.max(0, until - (now + skew));

/** "59:07": minutes and seconds, rounded up so that it is 0:00 only when it is over. */
export function countdown(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
