/** When to ask the server again. Pure. */

export interface Outlook {
  readonly visible: boolean;
  /** Something is under way that may change any moment. */
  readonly unfinished: boolean;
  /** Requests in a row that failed. */
  readonly failures: number;
}

export const LIVE = 2_000;
export const CALM = 20_000;
const LONGEST = 30_000;

/** Milliseconds until the next request; null: none while nobody looks. */
export function pauseBefore({ visible, unfinished, failures }: Outlook): number | null {
  if (!visible) return null;
  const pause = unfinished ? LIVE : CALM;
  return failures === 0 ? pause : Math.min(LONGEST, Math.max(LIVE, LIVE * 2 ** failures));
}
