/** Addresses of the page and of its APIs: everything exists at "/" and below "/t/{tenant}/". */

export interface Place {
  /** Name of the tenant in the address; null for the default one. */
  readonly tenant: string | null;
  readonly screen:
    | { readonly kind: 'list' }
    | { readonly kind: 'jobs' }
    | { readonly kind: 'break-glass' }
    | { readonly kind: 'reviews' }
    | { readonly kind: 'sign-in' }
    | { readonly kind: 'enrol' }
    | { readonly kind: 'admin'; readonly section: string }
    | { readonly kind: 'viewer'; readonly study: string };
}

const UID = /^[\w.-]{1,128}$/;
const SECTION = /^[a-z-]{0,32}$/;
const TENANT = /^[a-z0-9][a-z0-9-]{0,62}$/;

const PLAIN = ['jobs', 'break-glass', 'reviews', 'sign-in', 'enrol'] as const;

/** Read a path; anything unknown is the study list of the tenant it names. */
export function parsePlace(path: string): Place {
  const parts = path.split('/').filter(Boolean);
  const named = parts[0] === 't' && TENANT.test(parts[1] ?? '');
  const tenant = named ? (parts[1] as string) : null;
  const [screen, study = ''] = named ? parts.slice(2) : parts;
  const plain = PLAIN.find((kind) => kind === screen);
  if (plain) return { tenant, screen: { kind: plain } };
  if (screen === 'admin') return { tenant, screen: { kind: 'admin', section: SECTION.test(study) ? study : '' } };
  return screen === 'viewer' && UID.test(study)
    ? { tenant, screen: { kind: 'viewer', study } }
    : { tenant, screen: { kind: 'list' } };
}

/** The tenant as an address names it: the first one's is the bare address. */
export const placeOf = (name: string): string | null => (name === 'default' ? null : name);

const prefix = (tenant: string | null): string => (tenant === null ? '' : `/t/${tenant}`);

export const listPath = (tenant: string | null): string => `${prefix(tenant)}/`;
export const jobsPath = (tenant: string | null): string => `${prefix(tenant)}/jobs`;
export const breakGlassPath = (tenant: string | null): string => `${prefix(tenant)}/break-glass`;
export const reviewsPath = (tenant: string | null): string => `${prefix(tenant)}/reviews`;
export const signInPath = (tenant: string | null): string => `${prefix(tenant)}/sign-in`;
/** What the address of the sign-in page says to whoever has just signed out: it is over; only here, as the identity
 * provider does not answer; it is over there, too (its own way of saying so). */
export const SIGNED_OUT = '?signed-out';
export const SIGNED_OUT_HERE = '?signed-out=here';
export const SIGNED_OUT_THERE = '?state=signed-out';
/** The administration pages; without a section the first one that one may see. */
export const adminPath = (tenant: string | null, section = ''): string =>
  `${prefix(tenant)}/admin${section && `/${section}`}`;
export const viewerPath = (tenant: string | null, study: string): string =>
  `${prefix(tenant)}/viewer/${study}`;
export const consoleRoot = (tenant: string | null): string => `${prefix(tenant)}/api/v1`;
export const dicomwebRoot = (tenant: string | null): string => `${prefix(tenant)}/dicomweb`;
