/** Identity providers that may say who somebody is: what to register there, what their groups are here, whether they answer. */
import { useState, type ReactElement } from 'react';
import {
  addProvider,
  changeProvider,
  examineProvider,
  fetchProviders,
  removeProvider,
  type Examined,
  type Provider,
} from '../../client/admin';
import { Badge, Copyable, Line } from '../../ui/controls';
import { StateMark } from '../../ui/job-marks';
import { Button, Choice, Confirm, Failure, Field, Form, List, Page, Row, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { callbackOf, formatInstant, groupRows, groupsText, roleMap, ROLES, stepAdvice, stepDetail, stepText, wordsOf, type GroupRow } from './words';

const FIRST_NAME = 'sso';

interface CallbackProps {
  readonly template: string | null;
  readonly name: string;
}

/** The address to register at the provider; it cannot be looked up there, so it is copied. */
function Callback({ template, name }: CallbackProps): ReactElement {
  const address = callbackOf(template, name);
  return (
    <div className="admin-field admin-wide">
      <span className="admin-field-label">Redirect address, to be registered there</span>
      {address ? (
        <Copyable text={address} label="Redirect address" what="the redirect address" />
      ) : (
        <small className="quiet">
          {template === null
            ? 'This server does not know what browsers call it. Whoever runs it sets LIGHTWELL_PUBLIC_URL; until then nobody can sign in this way.'
            : 'It follows from the short name.'}
        </small>
      )}
    </div>
  );
}

const SIGN_OUT = [
  { name: 'here', title: 'Here only', says: 'The session of the provider goes on. Right where people share a workstation that the provider has signed in.' },
  { name: 'there', title: 'There, too', says: 'The browser goes on to the provider, which ends its session as well; it may ask first.' },
];

interface SignOutProps {
  readonly there: boolean;
  readonly onChange: (there: boolean) => void;
  readonly address: string | null;
}

/** How far signing out goes, and what has to be registered for it. */
function SignOut({ there, onChange, address }: SignOutProps): ReactElement {
  return (
    <>
      <Choice single label="Signing out ends the session" options={SIGN_OUT} chosen={[there ? 'there' : 'here']} onChange={([chosen]) => onChange(chosen === 'there')} />
      {there && address && (
        <div className="admin-field admin-wide">
          <span className="admin-field-label">Address after signing out, to be registered there</span>
          <Copyable text={address} label="Address after signing out" what="the address after signing out" />
        </div>
      )}
    </>
  );
}

interface GroupsProps {
  readonly rows: readonly GroupRow[];
  readonly onChange: (rows: readonly GroupRow[]) => void;
}

/** Which role each group of the provider has here; a group may stand in several rows. */
function Groups({ rows, onChange }: GroupsProps): ReactElement {
  const set = (at: number, part: Partial<GroupRow>): void => onChange(rows.map((row, n) => (n === at ? { ...row, ...part } : row)));
  const known = new Set(ROLES.map((role) => role.name));
  return (
    <fieldset className="admin-groups admin-wide">
      <legend>What its groups are here</legend>
      <small className="quiet">Who is in none of these groups is not let in. * stands for whoever the provider lets through; it makes no administrators.</small>
      {rows.map((row, at) => (
        <div key={at} className="admin-group-row">
          <input
            className="mono"
            aria-label={`Group ${at + 1}`}
            placeholder="Group, as the provider spells it"
            value={row.group}
            maxLength={256}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            onChange={(event) => set(at, { group: event.target.value })}
          />
          <select aria-label={`Role of group ${at + 1}`} value={row.role} onChange={(event) => set(at, { role: event.target.value })}>
            {!known.has(row.role) && <option value={row.role}>{row.role}</option>}
            {ROLES.map((role) => (
              <option key={role.name} value={role.name}>
                {role.name}
              </option>
            ))}
          </select>
          <Button kind="small" label={`Leave out group ${at + 1}`} disabled={rows.length === 1} onPress={() => onChange(rows.filter((_, n) => n !== at))}>
            Leave out
          </Button>
        </div>
      ))}
      <Button onPress={() => onChange([...rows, { group: '', role: 'radiologist' }])}>Another group</Button>
    </fieldset>
  );
}

interface EditProps extends SectionProps {
  /** What is changed; null: a new one. */
  readonly old: Provider | null;
  readonly callback: string | null;
  readonly signedOut: string | null;
  readonly onDone: (changed: boolean) => void;
}

function EditProvider({ tenant, old, callback, signedOut, onDone }: EditProps): ReactElement {
  const [name, setName] = useState(old?.name ?? FIRST_NAME);
  const [label, setLabel] = useState(old?.label ?? '');
  const [issuer, setIssuer] = useState(old?.issuer ?? '');
  const [clientId, setClientId] = useState(old?.clientId ?? '');
  const [secret, setSecret] = useState('');
  const [scopes, setScopes] = useState((old?.scopes ?? ['openid', 'profile']).join(' '));
  const [groupsClaim, setGroupsClaim] = useState(old?.groupsClaim ?? 'groups');
  const [loginClaim, setLoginClaim] = useState(old?.loginClaim ?? 'preferred_username');
  const [rows, setRows] = useState<readonly GroupRow[]>(old ? groupRows(old.roles) : [{ group: '', role: 'radiologist' }]);
  const [endSession, setEndSession] = useState(old?.endSession ?? false);
  const { busy, failure, run } = useAttempt();
  const roles = roleMap(rows);
  const submit = (): void =>
    run(async () => {
      const body = {
        label: label.trim() || name,
        client_id: clientId.trim(),
        ...(secret && { secret }),
        roles,
        scopes: wordsOf(scopes),
        groups_claim: groupsClaim.trim(),
        login_claim: loginClaim.trim(),
        end_session: endSession,
      };
      if (old) await changeProvider(tenant, old.name, body);
      else await addProvider(tenant, { ...body, name: name.trim(), issuer: issuer.trim() });
      onDone(true);
    });
  return (
    <Form
      title={old ? `Change ${old.label}` : 'Add an identity provider'}
      verb={old ? `Save ${old.name}` : 'Trust this provider'}
      busy={busy}
      failure={failure}
      disabled={Object.keys(roles).length === 0}
      onSubmit={submit}
      onCancel={() => onDone(false)}
    >
      <Field label="Short name" value={name} onChange={setName} fixed={old !== null} first={old === null} mono most={32} hint={old ? 'Stands in the redirect address; another name is another provider.' : 'a-z, 0-9 and -; stands in the redirect address.'} />
      <Field label="Name on the button" value={label} onChange={setLabel} optional most={60} hint="Sign in with …" />
      <Callback template={callback} name={name.trim()} />
      <Field label="Issuer" value={issuer} onChange={setIssuer} fixed={old !== null} mono wide most={255} placeholder="https://id.hospital.example/realms/main" hint={old ? 'Accounts are bound to it; another issuer is another provider.' : 'What the provider calls itself, to the letter; a slash at the end counts.'} />
      <Field label="Client ID" value={clientId} onChange={setClientId} mono most={255} hint="What the provider calls this archive." />
      <Field
        label="Client secret"
        value={secret}
        onChange={setSecret}
        hidden
        optional
        mono
        most={1000}
        hint={old && !old.isPublic ? 'One is kept, and shown to nobody. Leave this empty to keep it.' : 'Without one it is a public client. It is kept sealed and shown to nobody.'}
      />
      <Groups rows={rows} onChange={setRows} />
      <SignOut there={endSession} onChange={setEndSession} address={signedOut} />
      <details className="admin-more">
        <summary>More: scopes, claims</summary>
        <div className="admin-fields">
          <Field label="Scopes" value={scopes} onChange={setScopes} mono most={1000} hint="What is asked for; openid always is." />
          <Field label="Claim for groups" value={groupsClaim} onChange={setGroupsClaim} mono most={200} hint="Or a path: realm_access.roles" />
          <Field label="Claim for the login" value={loginClaim} onChange={setLoginClaim} mono most={200} hint="Becomes the login of a new account." />
        </div>
      </details>
    </Form>
  );
}

interface TestProps {
  readonly provider: Provider;
  readonly found: Examined;
  readonly callback: string | null;
}

/** What a look at the connection went through, and what to do about the part that failed. */
function Tested({ provider, found, callback }: TestProps): ReactElement {
  return (
    <div className="admin-tested" role="status" aria-label={`Test of ${provider.label}`} data-well={found.well || undefined}>
      <p className="strong">{found.well ? 'The connection is good.' : 'The connection is not good.'}</p>
      <ol>
        {found.steps.map((each) => (
          <li key={each.step}>
            <StateMark state={each.good ? 'done' : 'failed'} />
            <span>
              <span className={each.good ? undefined : 'strong'}>{stepText(each.step)}</span>
              <small className="quiet">{stepDetail(each)}</small>
            </span>
          </li>
        ))}
      </ol>
      {found.well ? (
        <>
          <p className="quiet">Whether the redirect address is registered there shows when somebody signs in.</p>
          <Callback template={callback} name={provider.name} />
        </>
      ) : (
        <p>{stepAdvice(found.steps)} Local accounts work without it.</p>
      )}
    </div>
  );
}

interface RowProps extends SectionProps {
  readonly provider: Provider;
  readonly callback: string | null;
  readonly signedOut: string | null;
  readonly onChanged: () => void;
}

function ProviderRow({ tenant, may, provider, callback, signedOut, onChanged }: RowProps): ReactElement {
  const [open, setOpen] = useState<'change' | 'switch' | 'remove' | null>(null);
  const [testing, setTesting] = useState(false);
  const [found, setFound] = useState<Examined | null>(null);
  const { busy, failure, run, forget } = useAttempt();
  const { name, label, enabled } = provider;
  const toggle = (what: typeof open): void => {
    forget();
    setFound(null);
    setOpen(open === what ? null : what);
  };
  const test = (): void => {
    setOpen(null);
    setFound(null);
    setTesting(true);
    run(async () => {
      try {
        setFound(await examineProvider(tenant, name));
      } finally {
        setTesting(false);
      }
    });
  };
  const act = (work: () => Promise<unknown>): void =>
    run(async () => {
      await work();
      setOpen(null);
      onChanged();
    });
  const changes = may('people:provider:change');
  return (
    <Row
      faded={!enabled}
      title={
        <>
          <Line text={label} />
          {enabled ? <Badge tone="good">On</Badge> : <Badge tone="warn">Off</Badge>}
          {provider.isPublic && <Badge title="It has no client secret; PKCE alone">Public client</Badge>}
        </>
      }
      sub={<Line text={provider.issuer} className="mono" />}
      middle={<Line text={groupsText(provider.roles)} className="quiet" />}
      meta={<span title={`Added by ${provider.madeBy}`}>since {formatInstant(provider.created).slice(0, 10)}</span>}
      actions={
        <>
          {may('people:provider:test') && (
            <Button kind="small" label={`Test the connection to ${name}`} disabled={busy} onPress={test}>
              Test connection
            </Button>
          )}
          {changes && (
            <Button kind="small" label={`Change ${name}`} expanded={open === 'change'} onPress={() => toggle('change')}>
              Change
            </Button>
          )}
          {changes && (
            <Button kind="small" label={`Switch ${name} ${enabled ? 'off' : 'on'}`} expanded={open === 'switch'} onPress={() => toggle('switch')}>
              {enabled ? 'Switch off' : 'Switch on'}
            </Button>
          )}
          {may('people:provider:remove') && (
            <Button kind="small" label={`Remove ${name}`} expanded={open === 'remove'} onPress={() => toggle('remove')}>
              Remove
            </Button>
          )}
        </>
      }
    >
      {testing && (
        <p className="probe" role="status">
          <StateMark state="running" /> Looking at each part of the connection to {label}…
        </p>
      )}
      {found && !testing && <Tested provider={provider} found={found} callback={callback} />}
      {!open && <Failure failure={failure} />}
      {open === 'change' && (
        <EditProvider
          tenant={tenant}
          may={may}
          old={provider}
          callback={callback}
          signedOut={signedOut}
          onDone={(changed) => {
            setOpen(null);
            if (changed) onChanged();
          }}
        />
      )}
      {open === 'switch' && (
        <Confirm
          harmless={!enabled}
          question={
            enabled
              ? `Switch ${label} off? Its button goes from the sign-in page and nobody signs in through it. Sessions go on.`
              : `Switch ${label} on? Its button is on the sign-in page again.`
          }
          verb={`Switch ${name} ${enabled ? 'off' : 'on'}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => changeProvider(tenant, name, { enabled: !enabled }))}
          onNo={() => setOpen(null)}
        />
      )}
      {open === 'remove' && (
        <Confirm
          question={`Remove ${label}? Its secret and its groups are forgotten. Accounts that came through it stay, and nobody signs in to them; sessions go on until they end.`}
          verb={`Remove ${name}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => removeProvider(tenant, name))}
          onNo={() => setOpen(null)}
        />
      )}
    </Row>
  );
}

interface GuideProps {
  readonly callback: string | null;
  readonly onAdd: (() => void) | null;
}

/** What is there as long as no provider is: what to register there first, and what to say here then. */
function Guide({ callback, onAdd }: GuideProps): ReactElement {
  return (
    <div className="admin-guide" role="group" aria-label="No identity provider yet">
      <h2>No identity provider yet</h2>
      <p className="quiet">People sign in with accounts of this archive. To let Keycloak, Entra ID, Okta or another OpenID provider say who they are:</p>
      <ol>
        <li>
          <b>Register this archive there</b> as a confidential web client with authorization code and PKCE (S256). Its redirect address, when it is called “{FIRST_NAME}” here:
          <Callback template={callback} name={FIRST_NAME} />
        </li>
        <li>
          <b>Have it tell the groups</b> of whoever signs in, in the ID token or in UserInfo.
        </li>
        <li>
          <b>Add it here</b> with its issuer, client ID and secret, say which group has which role, and test the connection.
        </li>
      </ol>
      {onAdd && <Button onPress={onAdd}>Add a provider</Button>}
    </div>
  );
}

export function Providers({ tenant, may }: SectionProps): ReactElement {
  const page = useLoaded((options) => fetchProviders(tenant, options), `${tenant}`);
  const [adding, setAdding] = useState(false);
  const items = page.value?.items ?? [];
  const callback = page.value?.callback ?? null;
  const signedOut = page.value?.signedOut ?? null;
  const adds = may('people:provider:add');
  return (
    <Page
      title="Identity providers"
      lead="Identity providers that may say who somebody is. Accounts of this archive stay beside them: they are what is left when a provider is away."
      actions={
        adds && (
          <Button kind="main" disabled={page.value === null} onPress={() => setAdding(true)}>
            Add a provider
          </Button>
        )
      }
    >
      {adding && (
        <EditProvider
          tenant={tenant}
          may={may}
          old={null}
          callback={callback}
          signedOut={signedOut}
          onDone={(changed) => {
            setAdding(false);
            if (changed) page.reload();
          }}
        />
      )}
      <List
        label="Identity providers"
        loaded={{ ...page, value: page.value && items }}
        shown={items}
        keyOf={(provider) => provider.name}
        words=""
        clear={() => undefined}
        empty={adding ? <></> : <Guide callback={callback} onAdd={adds ? () => setAdding(true) : null} />}
        row={(provider) => <ProviderRow tenant={tenant} may={may} provider={provider} callback={callback} signedOut={signedOut} onChanged={page.reload} />}
      />
    </Page>
  );
}
