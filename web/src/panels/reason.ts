/** Why the glass is broken, as the server takes it. Pure. */

const REASON_LEAST = 10;
export const REASON_MOST = 500;

const lengthOf = (text: string): number => text.trim().replace(/\s+/g, ' ').length;

/** Whether a reason is one: what the server will say, said at once. */
export const isReason = (text: string): boolean => lengthOf(text) >= REASON_LEAST && lengthOf(text) <= REASON_MOST;

/** How a reason has to be, and how much of one that was begun is missing: in an emergency nobody guesses. */
export function reasonHint(text: string): string {
  const missing = REASON_LEAST - lengthOf(text);
  if (missing <= 0 || missing === REASON_LEAST) {
    return `At least ${REASON_LEAST} characters for whoever reviews it: why these images, why now.`;
  }
  return `Too short by ${missing} ${missing === 1 ? 'character' : 'characters'}: at least ${REASON_LEAST}.`;
}
