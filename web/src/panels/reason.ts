/** Why the glass is broken, as the server takes it. Pure. */

const REASON_LEAST = 10;
export const REASON_MOST = 500;

/** Whether a reason is one: what the server will say, said at once. */
export const isReason = (text: string): boolean => {
  const length = text.trim().replace(/\s+/g, ' ').length;
  return length >= REASON_LEAST && length <= REASON_MOST;
};
