/** Answers of a server are `unknown` until they have been looked at: what each value is, or an empty one. */

export type Json = Record<string, unknown>;

export const object = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
export const count = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) ? value : 0;
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
