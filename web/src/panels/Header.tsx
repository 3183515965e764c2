/** What the headers of the pages have in common: the tenant, and the way to the background work. */
import { useEffect, useState, type MouseEvent, type ReactElement, type ReactNode } from 'react';
import type { Tenant } from '../client/console';
import { adminPath, breakGlassPath, jobsPath, placeOf, reviewsPath } from '../client/place';
import { glass } from '../store/glass';
import { watchFailures } from '../store/jobs';
import { navigate } from '../store/navigation';
import { leave, may, session } from '../store/session';
import { useSignal } from '../store/signal';
import { IconButton } from '../ui/controls';
import { formatCount } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';

interface SwitchProps {
  readonly tenants: readonly Tenant[];
  readonly tenant: string | null;
  /** The address of this page for another tenant; null is the first one. */
  readonly path: (tenant: string | null) => string;
}

/** The tenant where there is no other: once it was given a name of its own, or an accent. */
function TenantName(): ReactElement | null {
  const who = useSignal(session);
  if (!who || (!who.accent && who.label.toLowerCase() === who.tenant)) return null;
  return (
    <span className="tenant tenant-name" title={`Tenant ${who.tenant}`}>
      {who.label}
    </span>
  );
}

export function TenantSwitch({ tenants, tenant, path }: SwitchProps): ReactElement | null {
  if (tenants.length < 2) return <TenantName />;
  const names = tenants.map((t) => t.name);
  const current = tenant ?? names[0] ?? '';
  const go = (name: string): void => navigate(path(name === names[0] ? null : name));
  return (
    <select aria-label="Tenant" className="tenant" value={current} onChange={(event) => go(event.target.value)}>
      {tenants.map((t) => (
        <option key={t.name} value={t.name}>
          {t.label}
        </option>
      ))}
    </select>
  );
}

/** An ordinary click is ours; with a key held, or another button, it is the browser's. */
export const isPlainClick = (event: MouseEvent): boolean =>
  event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

interface LinkProps {
  readonly path: string;
  readonly label: string;
  readonly className: string;
  readonly children: ReactNode;
}

/** A link within the app that the browser can still open elsewhere. */
function Way({ path, label, className, children }: LinkProps): ReactElement {
  const open = (event: MouseEvent): void => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    navigate(path);
  };
  return (
    <a className={className} href={path} title={label} aria-label={label} onClick={open}>
      {children}
    </a>
  );
}

/** What makes the administration pages worth a visit; everything else there is for everybody. */
const ADMINISTERS = ['people:person:list', 'peers:peer:list', 'policy:rule:list'];

/** The way to the administration pages, for whoever may see any of them. */
export function AdminLink({ tenant }: { readonly tenant: string | null }): ReactElement | null {
  const who = useSignal(session);
  if (!ADMINISTERS.some((action) => may(who, action))) return null;
  return (
    <Way className="icon-button" path={adminPath(tenant)} label="Administration">
      <Icon name="admin" />
    </Way>
  );
}

/** Who is signed in, and the way out. */
export function Account({ tenant }: { readonly tenant: string | null }): ReactElement | null {
  const who = useSignal(session);
  if (!who || who.kind !== 'person') return null;
  const name = `${who.name} (${who.roles.join(', ')})`;
  return (
    <span className="account">
      <Way className="account-name" path={adminPath(placeOf(who.home), 'you')} label={name}>
        <span className="account-text">{who.name}</span>
        <Icon name="person" />
      </Way>
      <IconButton icon="leave" label={`Sign out ${name}`} onPress={() => void leave(tenant)} />
    </span>
  );
}

/** The way to the background work; it is quiet until something has failed. */
export function JobsLink({ tenant }: { readonly tenant: string | null }): ReactElement | null {
  const [failed, setFailed] = useState(0);
  const who = useSignal(session);
  // Until it is known who looks, the server is not asked what it would have to refuse.
  const sees = may(who, 'work:job:list');
  useEffect(() => {
    setFailed(0);
    return sees ? watchFailures(tenant, setFailed) : undefined;
  }, [tenant, sees]);
  if (!sees) return null;
  const path = jobsPath(tenant);
  const name = failed > 0 ? `Background work, ${formatCount(failed)} failed` : 'Background work';
  return (
    <Way className="icon-button jobs-link" path={path} label={name}>
      <Icon name="work" />
      {failed > 0 && (
        <span className="jobs-failed" aria-hidden="true">
          {failed > 99 ? '99+' : failed}
        </span>
      )}
    </Way>
  );
}

interface PageLinkProps {
  readonly icon: IconName;
  readonly path: string;
  readonly name: string;
  readonly waiting?: number;
}

function PageLink({ icon, path, name, waiting = 0 }: PageLinkProps): ReactElement {
  return (
    <Way className="icon-button jobs-link" path={path} label={name}>
      <Icon name={icon} />
      {waiting > 0 && (
        <span className="jobs-failed" aria-hidden="true">
          {waiting > 99 ? '99+' : waiting}
        </span>
      )}
    </Way>
  );
}

/** The ways into emergency access and to its review, for those who may. */
export function GlassLinks({ tenant }: { readonly tenant: string | null }): ReactElement {
  const { standing } = useSignal(glass);
  const counts = standing?.counts;
  const waiting = counts?.unreviewed ?? 0;
  return (
    <>
      {standing?.mayBreak && <PageLink icon="glass" path={breakGlassPath(tenant)} name="Emergency access" />}
      {counts && (
        <PageLink
          icon="review"
          path={reviewsPath(tenant)}
          name={waiting > 0 ? `Review of emergency access, ${formatCount(waiting)} waiting` : 'Review of emergency access'}
          waiting={waiting}
        />
      )}
    </>
  );
}
