/** Accounts of a tenant: who, which roles, what they reach, shut or open; links to choose anew what one signs in with. */
import { useState, type ReactElement } from 'react';
import { addPerson, changePerson, endSessionsOf, enrolAgain, fetchPeople, newSignInLink, type Made, type Person } from '../../client/admin';
import { session } from '../../store/session';
import { useSignal } from '../../store/signal';
import { Badge, Line, Notice } from '../../ui/controls';
import { plural } from '../../ui/format';
import { Button, Confirm, Field, Form, List, Page, RoleChoice, Row, SearchBar, Secret, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { ENVELOPE, SealNew, Standing } from './Standing';
import { formatInstant, initials, linkAddress, personMatches } from './words';

const FOR_24_HOURS = 'Send it to them by a way that is theirs alone. It works once, within 24 hours, and is shown only now.';

interface AddProps extends SectionProps {
  readonly onMade: (login: string, made: Made) => void;
  readonly onCancel: () => void;
}

function AddPerson({ tenant, onMade, onCancel }: AddProps): ReactElement {
  const [login, setLogin] = useState('');
  const [name, setName] = useState('');
  const [roles, setRoles] = useState<readonly string[]>([]);
  const { busy, failure, run } = useAttempt();
  const submit = (): void => run(async () => onMade(login.trim(), await addPerson(tenant, { login, name, roles })));
  return (
    <Form title="Add a person" verb="Add and make a link" busy={busy} failure={failure} disabled={roles.length === 0} onSubmit={submit} onCancel={onCancel}>
      <Field label="Login" hint="Letters, digits, . _ @ -" value={login} onChange={setLogin} first most={64} />
      <Field label="Name" hint="As others see it." value={name} onChange={setName} optional most={100} />
      <RoleChoice chosen={roles} onChange={setRoles} />
    </Form>
  );
}

interface LinkProps extends SectionProps {
  readonly onMade: (made: Made) => void;
  readonly onCancel: () => void;
}

function SignInLink({ tenant, onMade, onCancel }: LinkProps): ReactElement {
  const [roles, setRoles] = useState<readonly string[]>([]);
  const { busy, failure, run } = useAttempt();
  const submit = (): void => run(async () => onMade(await newSignInLink(tenant, roles)));
  return (
    <Form title="Sign-in link without an account" verb="Make the link" busy={busy} failure={failure} disabled={roles.length === 0} onSubmit={submit} onCancel={onCancel}>
      <p className="quiet admin-wide">Signs one browser in with these roles, once, within 30 minutes: for a visitor, or a screen on a wall.</p>
      <RoleChoice chosen={roles} onChange={setRoles} />
    </Form>
  );
}

type Open = 'roles' | 'access' | 'link' | 'shut' | 'open' | 'sessions' | null;

interface RowProps extends SectionProps {
  readonly person: Person;
  readonly mine: boolean;
  readonly changes: boolean;
  readonly links: boolean;
  readonly ends: boolean;
  readonly onChanged: () => void;
}

function PersonRow({ tenant, may, person, mine, changes, links, ends, onChanged }: RowProps): ReactElement {
  const [open, setOpen] = useState<Open>(null);
  const [roles, setRoles] = useState(person.roles);
  const [made, setMade] = useState<Made | null>(null);
  const { busy, failure, run, forget } = useAttempt();
  const show = (what: Open): void => {
    forget();
    setRoles(person.roles);
    setOpen(open === what ? null : what);
  };
  const close = (): void => setOpen(null);
  const act = (work: () => Promise<unknown>): void =>
    run(async () => {
      await work();
      setOpen(null);
      onChanged();
    });
  const shown = person.name || person.login;
  return (
    <Row
      faded={person.disabled}
      lead={
        <span className="avatar" aria-hidden="true">
          {initials(person)}
        </span>
      }
      title={
        <>
          <Line text={shown} />
          {mine && <Badge tone="info">You</Badge>}
          {person.disabled && <Badge tone="danger">Shut</Badge>}
          {person.sealed && person.unsealed === null && <Badge tone="warn">Sealed</Badge>}
          {person.unsealed !== null && (
            <Badge tone="danger" title={`Opened ${formatInstant(person.unsealed)}: seal it again`}>
              Envelope opened
            </Badge>
          )}
          {!person.enrolled && (
            <Badge tone="warn" title="The link they got was not used. It works for 24 hours; make a new one when it is too old.">
              Has not signed in yet
            </Badge>
          )}
          {person.issuer && <Badge title={`Signs in through ${person.issuer}`}>Single sign-on</Badge>}
        </>
      }
      sub={<Line text={person.login} className="mono" />}
      middle={person.roles.map((role) => (
        <Badge key={role}>{role}</Badge>
      ))}
      meta={<span title={`Made ${formatInstant(person.created)}`}>since {formatInstant(person.created).slice(0, 10)}</span>}
      actions={
        <>
          {changes && !mine && (
            <Button kind="small" label={`Roles of ${person.login}`} expanded={open === 'roles'} onPress={() => show('roles')}>
              Roles
            </Button>
          )}
          {may('people:relation:list') && (
            <Button kind="small" label={`Access of ${person.login}: patients, limits, envelope`} expanded={open === 'access'} onPress={() => show('access')}>
              Access
            </Button>
          )}
          {links && !person.disabled && !person.sealed && person.issuer === null && (
            <Button kind="small" label={`New link for ${person.login}`} expanded={open === 'link'} onPress={() => show('link')}>
              New link
            </Button>
          )}
          {ends && !mine && (
            <Button kind="small" label={`Sign out ${person.login} everywhere`} expanded={open === 'sessions'} onPress={() => show('sessions')}>
              Sign out
            </Button>
          )}
          {changes && !mine && (
            <Button
              kind="small"
              label={`${person.disabled ? 'Open' : 'Shut'} ${person.login}`}
              expanded={open === 'shut' || open === 'open'}
              onPress={() => show(person.disabled ? 'open' : 'shut')}
            >
              {person.disabled ? 'Open' : 'Shut'}
            </Button>
          )}
        </>
      }
    >
      {open === 'roles' && (
        <Form
          verb={`Save the roles of ${person.login}`}
          busy={busy}
          failure={failure}
          disabled={roles.length === 0}
          onSubmit={() => act(() => changePerson(tenant, person.login, { roles }))}
          onCancel={close}
        >
          <RoleChoice chosen={roles} onChange={setRoles} />
        </Form>
      )}
      {open === 'access' && <Standing tenant={tenant} may={may} person={person} mine={mine} onChanged={onChanged} />}
      {open === 'link' && (
        <Confirm
          harmless
          question={`Make a link with which ${shown} chooses anew what they sign in with? Until it is used, what they have stays good; then their sessions end.`}
          verb={`Make a link for ${person.login}`}
          busy={busy}
          failure={failure}
          onYes={() =>
            run(async () => {
              setMade(await enrolAgain(tenant, person.login));
              setOpen(null);
            })
          }
          onNo={close}
        />
      )}
      {open === 'shut' && (
        <Confirm
          question={`Shut the account of ${shown} (${person.login})? Nobody signs in with it any more, and its sessions end within seconds. It can be opened again.`}
          verb={`Shut ${person.login}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => changePerson(tenant, person.login, { disabled: true }))}
          onNo={close}
        />
      )}
      {open === 'open' && (
        <Confirm
          harmless
          question={`Open the account of ${shown} (${person.login}) again? It signs in as it did before.`}
          verb={`Open ${person.login}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => changePerson(tenant, person.login, { disabled: false }))}
          onNo={close}
        />
      )}
      {open === 'sessions' && (
        <Confirm
          question={`Sign ${shown} (${person.login}) out everywhere? They can sign in again.`}
          verb={`Sign out ${person.login}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => endSessionsOf(tenant, person.login))}
          onNo={close}
        />
      )}
      {made && (
        <Secret
          title={`Link for ${person.login}`}
          says={FOR_24_HOURS}
          secret={linkAddress(location.origin, tenant, 'enrol', made.secret)}
          what="the link"
          onDone={() => setMade(null)}
        />
      )}
    </Row>
  );
}

interface Told {
  readonly title: string;
  readonly says: string;
  readonly secret: string;
  readonly what: string;
}

export function People({ tenant, may }: SectionProps): ReactElement {
  const who = useSignal(session);
  const people = useLoaded((options) => fetchPeople(tenant, options), `${tenant}`);
  const [words, setWords] = useState('');
  const [form, setForm] = useState<'person' | 'link' | 'seal' | null>(null);
  const [told, setTold] = useState<Told | null>(null);
  const shown = (people.value ?? []).filter(personMatches(words.trim()));
  const adds = may('people:person:add');
  const links = may('people:link:create');
  const done = (what: Told): void => {
    setForm(null);
    setTold(what);
    people.reload();
  };
  return (
    <Page
      title="People"
      lead="Who has an account here and what each may do. Whoever is added gets a link and chooses a password with a code, or a passkey."
      actions={
        <>
          {may('people:seal:change') && <Button onPress={() => setForm('seal')}>Emergency account</Button>}
          {links && <Button onPress={() => setForm('link')}>Sign-in link</Button>}
          {adds && (
            <Button kind="main" onPress={() => setForm('person')}>
              Add a person
            </Button>
          )}
        </>
      }
    >
      {form === 'person' && (
        <AddPerson
          tenant={tenant}
          may={may}
          onCancel={() => setForm(null)}
          onMade={(login, made) =>
            done({ title: `Link for ${login}`, says: FOR_24_HOURS, secret: linkAddress(location.origin, tenant, 'enrol', made.secret), what: 'the link' })
          }
        />
      )}
      {form === 'link' && (
        <SignInLink
          tenant={tenant}
          may={may}
          onCancel={() => setForm(null)}
          onMade={(made) =>
            done({
              title: 'Sign-in link',
              says: 'Whoever opens it first is signed in. It works once, within 30 minutes, and is shown only now.',
              secret: linkAddress(location.origin, tenant, 'sign-in', made.secret),
              what: 'the link',
            })
          }
        />
      )}
      {form === 'seal' && (
        <SealNew
          tenant={tenant}
          may={may}
          onCancel={() => setForm(null)}
          onMade={(login, made) => done({ title: `Password of ${login}, for the envelope`, says: ENVELOPE, secret: made.secret, what: 'the password' })}
        />
      )}
      {told && <Secret {...told} onDone={() => setTold(null)} />}
      <SearchBar
        label="Search login, name, role"
        value={words}
        onChange={setWords}
        count={people.value ? plural(people.value.length, 'person', 'people') : ''}
      />
      <List
        label="People"
        loaded={people}
        shown={shown}
        keyOf={(person) => person.login}
        words={words.trim()}
        clear={() => setWords('')}
        empty={
          <Notice
            title="Nobody has an account here yet"
            advice="Add the first person; they get a link with which they choose how to sign in."
            {...(adds && { action: { label: 'Add a person', onPress: () => setForm('person') } })}
          />
        }
        row={(person) => (
          <PersonRow
            tenant={tenant}
            may={may}
            person={person}
            mine={who?.kind === 'person' && who.name === person.login && who.home === who.tenant}
            changes={may('people:person:change')}
            links={links}
            ends={may('people:session:revoke')}
            onChanged={people.reload}
          />
        )}
      />
    </Page>
  );
}
