/** Three-component vectors in the patient coordinate system (PS3.3 C.7.6.2.1.1), millimetres. */
export type Vec3 = readonly [number, number, number];

/** Two-component vectors on the image: x along a row (columns), y down a column (rows). */
export type Vec2 = readonly [number, number];

export const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

export const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

export const length = (a: Vec3): number => Math.sqrt(dot(a, a));

/** `p * a + q * b`. */
export const combine = (p: number, a: Vec3, q: number, b: Vec3): Vec3 => [
  p * a[0] + q * b[0],
  p * a[1] + q * b[1],
  p * a[2] + q * b[2],
];

/** Unit vector, or null for a vector too short to have a direction. */
export function normalise(a: Vec3): Vec3 | null {
  const n = length(a);
  return n > 1e-9 ? [a[0] / n, a[1] / n, a[2] / n] : null;
}
