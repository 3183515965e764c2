/** A tenant's accent as the variables that the style sheets read (tokens.css). Pure. */
import type { CSSProperties } from 'react';

/** `#rrggbb`; '' for anything else, which never reaches a style. */
export const accentOf = (text: string): string => (/^#[0-9a-f]{6}$/.test(text) ? text : '');

/** The sign-in page in a tenant's accent. */
export const accented = (accent: string): CSSProperties =>
  accent ? ({ '--accent': accent, '--accent-ground': `color-mix(in srgb, ${accent} 16%, var(--ground))` } as CSSProperties) : {};

/** The pages' headers in it; what means something there, chosen tools and states, keeps its colour. */
export const marked = (accent: string): CSSProperties => (accent ? ({ '--tenant': accent } as CSSProperties) : {});
