/** Administration: the pages one may see, beside each other; on a phone in one row above. */
import { useEffect, useRef, type MouseEvent, type ReactElement } from 'react';
import type { Tenant } from '../../client/console';
import { adminPath, listPath } from '../../client/place';
import { navigate } from '../../store/navigation';
import { may, session } from '../../store/session';
import { useSignal } from '../../store/signal';
import { Badge, IconButton, Notice } from '../../ui/controls';
import { Icon } from '../../ui/icons';
import '../../ui/admin.css';
import { About } from '../About';
import { Account, isPlainClick, TenantSwitch } from '../Header';
import { SECTIONS, type Section } from './sections';

interface Props {
  readonly tenant: string | null;
  readonly tenants: readonly Tenant[];
  readonly demo: boolean;
  readonly section: string;
}

interface NavProps {
  readonly tenant: string | null;
  readonly sections: readonly Section[];
  readonly current: Section | undefined;
}

function Nav({ tenant, sections, current }: NavProps): ReactElement {
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    list.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [current]);
  const groups = [...new Set(sections.map((each) => each.group))];
  const open = (event: MouseEvent, path: string): void => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    navigate(path);
  };
  return (
    <nav ref={list} className="admin-nav" aria-label="Administration">
      {groups.map((group) => (
        <div key={group} className="admin-nav-group">
          <span className="admin-nav-title" aria-hidden="true">
            {group}
          </span>
          {sections
            .filter((each) => each.group === group)
            .map((each) => {
              const path = adminPath(tenant, each.id);
              return (
                <a key={each.id} href={path} aria-current={each === current ? 'page' : undefined} onClick={(event) => open(event, path)}>
                  <Icon name={each.icon} />
                  {each.title}
                </a>
              );
            })}
        </div>
      ))}
    </nav>
  );
}

export function Admin({ tenant, tenants, demo, section }: Props): ReactElement {
  const who = useSignal(session);
  // One's own account is at home; elsewhere one is a guest.
  const away = who?.home !== who?.tenant;
  const sections = SECTIONS.filter((each) => may(who, each.needs) && !(away && each.group === 'Yourself'));
  const current = section ? sections.find((each) => each.id === section) : sections[0];
  const path = (other: string | null): string => adminPath(other, current?.id ?? '');
  return (
    <div className="admin-page">
      <header className="list-header admin-header">
        <IconButton icon="back" label="Studies" onPress={() => navigate(listPath(tenant))} />
        <span className="brand">Administration</span>
        <TenantSwitch tenants={tenants} tenant={tenant} path={path} />
        {demo && <Badge tone="info">DEMO</Badge>}
        <span className="admin-space" />
        <Account tenant={tenant} />
        <About />
      </header>
      <Nav tenant={tenant} sections={sections} current={current} />
      <main className="admin-main">
        {who === undefined ? (
          <p className="starting">Looking who is signed in…</p>
        ) : current ? (
          <current.Content key={`${tenant} ${current.id}`} tenant={tenant} may={(action) => may(who, action)} />
        ) : (
          <Notice
            title="This page is not open to you"
            advice={`Your role here (${who?.roles.join(', ') || 'none'}) does not reach it. Ask an administrator.`}
            action={{ label: 'Back to the studies', onPress: () => navigate(listPath(tenant)) }}
          />
        )}
      </main>
      <footer className="list-footer admin-footer">Not a cleared medical device</footer>
    </div>
  );
}
