/** Which page the address asks for, and the tenants every page needs. */
import { Component, lazy, Suspense, useEffect, useState, type ComponentProps, type ReactElement, type ReactNode } from 'react';
import { fetchTenants, type Tenant } from '../client/console';
import { BreakGlass } from '../panels/BreakGlass';
import { GlassBanner } from '../panels/GlassBanner';
import { Jobs } from '../panels/Jobs';
import { ProveAgain } from '../panels/ProveAgain';
import { Reviews } from '../panels/Reviews';
import { Enrol, LinkSignIn, SignIn } from '../panels/SignIn';
import { StudyList } from '../panels/StudyList';
import { closing, watchGlass, type Closing } from '../store/glass';
import { place } from '../store/navigation';
import { look, session } from '../store/session';
import { useSignal } from '../store/signal';
import { marked } from '../ui/accent';
import { Notice } from '../ui/controls';

type ViewerPage = typeof import('../panels/Viewer').Viewer;
let loaded: ViewerPage | null = null;

const loadViewer = async (): Promise<{ default: ViewerPage }> => {
  loaded = (await import('../panels/Viewer')).Viewer;
  return { default: loaded };
};
const LazyViewer = lazy(loadViewer);
const Admin = lazy(async () => ({ default: (await import('../panels/admin/Admin')).Admin }));

/** The viewer at once when its code is here: what was suspended is shown again only 300 ms later. */
function Viewer(p: ComponentProps<ViewerPage>): ReactElement {
  const [Page] = useState(() => loaded ?? LazyViewer);
  return <Page {...p} />;
}

/** The viewer's code, its drawing and its codecs, made ready while the list is read. */
const prepare = (): void => {
  // Only a head start: a failure shows itself when the viewer is really opened.
  void Promise.all([loadViewer(), import('../viewport/warm').then(({ warmUp }) => warmUp())]).catch(() => undefined);
};

/** The tenants, or an empty list when they cannot be read: the page works without the switch. */
function useTenants(): readonly Tenant[] {
  const [tenants, setTenants] = useState<readonly Tenant[]>([]);
  useEffect(() => {
    const life = new AbortController();
    fetchTenants({ signal: life.signal }).then(setTenants, () => undefined);
    return () => life.abort();
  }, []);
  return tenants;
}

/** Emergency access is looked after while a person is signed in. What is over: what showed its patient begins anew
 * then. */
function useEmergency(tenant: string | null): Closing {
  const person = useSignal(session)?.kind === 'person';
  useEffect(() => (person ? watchGlass(tenant) : undefined), [person, tenant]);
  return useSignal(closing);
}

class LastResort extends Component<{ readonly children: ReactNode }, { readonly failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    const reload = { label: 'Reload', onPress: () => location.reload() };
    return <Notice alert title="The page stopped working." advice="Nothing stored is affected." action={reload} />;
  }
}

/** The secret of a one-time link, from the fragment of the address it came with. */
const linkToken = (): string => /^#(lwl_[\w-]{43})$/.exec(location.hash)?.[1] ?? '';

/** The page of whoever is signed in, or the way to become so. */
export function App(): ReactElement {
  const { tenant, screen } = useSignal(place);
  const who = useSignal(session);
  const [token] = useState(linkToken);
  const linked = token !== '' && (screen.kind === 'enrol' || screen.kind === 'sign-in');
  useEffect(() => {
    // The pages begin meanwhile, and say themselves when the server cannot be reached.
    if (!linked) look(tenant).catch(() => undefined);
  }, [tenant, linked]);
  if (screen.kind === 'enrol' && token) return <Enrol tenant={tenant} token={token} />;
  if (screen.kind === 'sign-in' && token) return <LinkSignIn tenant={tenant} token={token} />;
  return who === null || screen.kind === 'sign-in' ? <SignIn tenant={tenant} /> : <Pages />;
}

function Pages(): ReactElement {
  const { tenant, screen } = useSignal(place);
  const tenants = useTenants();
  const current = tenant === null ? tenants[0] : tenants.find((t) => t.name === tenant);
  // Without the list of tenants the reserved name still says it.
  const demo = current?.demo ?? tenant === 'demo';
  const accent = useSignal(session)?.accent ?? '';
  const closed = useEmergency(tenant);
  return (
    <LastResort>
      <div className="house" style={marked(accent)}>
        <GlassBanner tenant={tenant} />
        <div className="house-page">
          <Suspense fallback={<div className="starting">{screen.kind === 'viewer' ? 'Starting the viewer…' : 'One moment…'}</div>}>
            {screen.kind === 'viewer' ? (
              <Viewer
                key={`${tenant}/${screen.study}/${closed.count}/${closed.everywhere}`}
                tenant={tenant}
                study={screen.study}
                demo={demo}
                over={closed.at === location.pathname ? closed : null}
              />
            ) : screen.kind === 'jobs' ? (
              <Jobs key={tenant} tenant={tenant} tenants={tenants} demo={demo} />
            ) : screen.kind === 'admin' ? (
              <Admin key={tenant} tenant={tenant} tenants={tenants} demo={demo} section={screen.section} />
            ) : screen.kind === 'break-glass' ? (
              <BreakGlass key={tenant} tenant={tenant} />
            ) : screen.kind === 'reviews' ? (
              <Reviews key={tenant} tenant={tenant} />
            ) : (
              <StudyList key={tenant} tenant={tenant} tenants={tenants} demo={demo} onIdle={prepare} />
            )}
          </Suspense>
        </div>
      </div>
      <ProveAgain tenant={tenant} />
    </LastResort>
  );
}
