/** What one account reaches: whose patients are theirs, what it is limited to, whether its password is in an envelope. */
import { useState, type ReactElement } from 'react';
import {
  fetchStanding,
  limitPerson,
  LIMITS,
  relate,
  sealPerson,
  unrelate,
  type Made,
  type Person,
  type Relation,
  type Standing as Stands,
} from '../../client/admin';
import { Button, Choice, Confirm, Failure, Field, Form, Lines, RoleChoice, Secret, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { formatInstant, LIMIT_WORDS, linesOf, relationText, RELATIONS, wordsOf } from './words';

const PLACES = 'loopback private';
const PLACES_HINT = 'loopback, private, public, or networks (192.0.2.0/24). From elsewhere the password opens nothing.';
export const ENVELOPE = 'Write it down, put it in an envelope and seal that. It is shown only now; each use alarms and waits for review.';

interface PersonProps extends SectionProps {
  readonly person: Person;
  /** Nobody says this of their own account. */
  readonly mine: boolean;
  readonly onChanged: () => void;
}

interface PartProps extends PersonProps {
  readonly stands: Stands;
}

function Relations({ tenant, may, person, mine, stands, onChanged }: PartProps): ReactElement {
  const [kind, setKind] = useState('treats');
  const [name, setName] = useState('');
  const [issuer, setIssuer] = useState('');
  const [adding, setAdding] = useState(false);
  const [ending, setEnding] = useState<Relation | null>(null);
  const { busy, failure, run, forget } = useAttempt();
  const changes = may('people:relation:change') && !mine;
  const word = RELATIONS.find((each) => each.name === kind) ?? RELATIONS[0]!;
  const act = (work: () => Promise<unknown>): void =>
    run(async () => {
      await work();
      setAdding(false);
      setEnding(null);
      setName('');
      onChanged();
    });
  const record = (): void => act(() => relate(tenant, person.login, { kind, name: name.trim(), issuer: word.by ? issuer.trim() : '' }));
  return (
    <section className="standing-part" aria-label={`Whose patients are theirs: ${person.login}`}>
      <h3>Whose patients are theirs</h3>
      {stands.relations.length === 0 ? (
        <p className="quiet">Nobody’s. Referrers and patients see nothing until something stands here; other roles do not need it.</p>
      ) : (
        <ul className="standing-list">
          {stands.relations.map((each) => (
            <li key={`${each.kind} ${each.issuer} ${each.name}`}>
              <span>{relationText(each)}</span>
              {changes && (
                <Button
                  kind="small"
                  label={`Take back: ${relationText(each)}`}
                  expanded={ending === each}
                  onPress={() => {
                    forget();
                    setEnding(ending === each ? null : each);
                  }}
                >
                  Take back
                </Button>
              )}
            </li>
          ))}
        </ul>
      )}
      {ending && (
        <Confirm
          question={`Take back “${relationText(ending)}”? What it opened for ${person.login} is shut within seconds, also what is open.`}
          verb="Take it back"
          busy={busy}
          failure={failure}
          onYes={() => act(() => unrelate(tenant, person.login, ending))}
          onNo={() => setEnding(null)}
        />
      )}
      {adding ? (
        <Form verb="Record it" busy={busy} failure={failure} onSubmit={record} onCancel={() => setAdding(false)}>
          <Choice single label="What they are" options={RELATIONS} chosen={[kind]} onChange={([chosen = kind]) => setKind(chosen)} />
          <Field label={word.of} value={name} onChange={setName} mono most={64} first hint="It need not be in the archive yet." />
          {word.by && <Field label={word.by} value={issuer} onChange={setIssuer} mono most={64} optional={kind !== 'refers-as'} />}
        </Form>
      ) : (
        changes && (
          <Button
            label={`Add a patient of ${person.login}`}
            onPress={() => {
              forget();
              setAdding(true);
            }}
          >
            Add
          </Button>
        )
      )}
    </section>
  );
}

function Limits({ tenant, may, person, mine, stands, onChanged }: PartProps): ReactElement {
  const kept = { site: stands.limits.site.join('\n'), department: stands.limits.department.join('\n'), modality: stands.limits.modality.join('\n') };
  const [typed, setTyped] = useState(kept);
  const { busy, failure, run } = useAttempt();
  const changes = may('people:relation:change') && !mine;
  const changed = LIMITS.filter((limit) => linesOf(typed[limit]).join('\n') !== kept[limit]);
  const save = (): void =>
    run(async () => {
      for (const limit of changed) await limitPerson(tenant, person.login, limit, linesOf(typed[limit]));
      onChanged();
    });
  return (
    <section className="standing-part" aria-label={`Limits of ${person.login}`}>
      <h3>Limits</h3>
      <p className="quiet">Only studies of these; an empty field limits nothing.</p>
      <div className="admin-fields">
        {LIMITS.map((limit) => (
          <Lines
            key={limit}
            label={LIMIT_WORDS[limit].title}
            hint={LIMIT_WORDS[limit].says}
            value={typed[limit]}
            fixed={!changes}
            onChange={(value) => setTyped({ ...typed, [limit]: value })}
          />
        ))}
      </div>
      <Failure failure={failure} />
      {changes && (
        <Button label={`Save the limits of ${person.login}`} disabled={busy || changed.length === 0} onPress={save}>
          {busy ? 'One moment…' : 'Save the limits'}
        </Button>
      )}
    </section>
  );
}

function Seal({ tenant, person, onChanged }: PersonProps): ReactElement {
  const [places, setPlaces] = useState(person.sealed ? person.places.join(' ') : PLACES);
  const [asking, setAsking] = useState(false);
  const [made, setMade] = useState<Made | null>(null);
  const { busy, failure, run, forget } = useAttempt();
  const seal = (): void =>
    run(async () => {
      setMade(await sealPerson(tenant, person.login, { places: wordsOf(places) }));
      setAsking(false);
      onChanged();
    });
  const verb = person.sealed ? 'Seal again' : 'Seal';
  return (
    <section className="standing-part" aria-label={`Envelope of ${person.login}`}>
      <h3>Emergency envelope</h3>
      <p className="quiet">
        {!person.sealed
          ? 'For an account that nobody signs in with from day to day: a new random password, without a code, for an envelope in a safe.'
          : person.unsealed === null
            ? 'Its password is in an envelope, which is shut.'
            : `Its envelope was opened ${formatInstant(person.unsealed)}: seal it again.`}
      </p>
      {made ? (
        <Secret title={`Password of ${person.login}, for the envelope`} says={ENVELOPE} secret={made.secret} what="the password" onDone={() => setMade(null)} />
      ) : asking ? (
        <>
          <div className="admin-fields">
            <Field label="Where it may be used" value={places} onChange={setPlaces} mono wide first hint={PLACES_HINT} />
          </div>
          <Confirm
            question={`${verb} ${person.login}? What it signed in with before is over, and its sessions end.`}
            verb={`${verb} ${person.login}`}
            busy={busy}
            failure={failure}
            onYes={seal}
            onNo={() => setAsking(false)}
          />
        </>
      ) : (
        <Button
          label={`${verb} the account ${person.login}`}
          onPress={() => {
            forget();
            setAsking(true);
          }}
        >
          {verb}…
        </Button>
      )}
    </section>
  );
}

/** What stands below the row of a person. */
export function Standing(p: PersonProps): ReactElement {
  const { tenant, may, person, mine } = p;
  const stands = useLoaded((options) => fetchStanding(tenant, person.login, options), `${tenant} ${person.login}`);
  const again = stands.reload;
  return (
    <div className="standing" role="group" aria-label={`Access of ${person.login}`}>
      <Failure failure={stands.failure} />
      {stands.value === null && !stands.failure && <p className="quiet">Loading…</p>}
      {stands.value && (
        <>
          <Relations {...p} stands={stands.value} onChanged={again} />
          <Limits key={JSON.stringify(stands.value.limits)} {...p} stands={stands.value} onChanged={again} />
        </>
      )}
      {may('people:seal:change') && !mine && person.issuer === null && <Seal {...p} />}
    </div>
  );
}

interface NewSealProps extends SectionProps {
  readonly onMade: (login: string, made: Made) => void;
  readonly onCancel: () => void;
}

/** A new account whose password goes straight into an envelope. */
export function SealNew({ tenant, onMade, onCancel }: NewSealProps): ReactElement {
  const [login, setLogin] = useState('');
  const [name, setName] = useState('');
  const [places, setPlaces] = useState(PLACES);
  const [roles, setRoles] = useState<readonly string[]>(['radiologist']);
  const { busy, failure, run } = useAttempt();
  const submit = (): void =>
    run(async () => onMade(login.trim(), await sealPerson(tenant, login.trim(), { name, roles, places: wordsOf(places) })));
  return (
    <Form title="Emergency account" verb="Seal and show the password" busy={busy} failure={failure} disabled={roles.length === 0} onSubmit={submit} onCancel={onCancel}>
      <p className="quiet admin-wide">Its random password is for an envelope: it works when nothing else does, from the places below only, and each use alarms.</p>
      <Field label="Login" hint="Letters, digits, . _ @ -" value={login} onChange={setLogin} first most={64} />
      <Field label="Name" hint="As others see it." value={name} onChange={setName} optional most={64} />
      <Field label="Where it may be used" value={places} onChange={setPlaces} mono wide hint={PLACES_HINT} />
      <RoleChoice chosen={roles} onChange={setRoles} />
    </Form>
  );
}
