/** Keys of programs: routers, information systems, scripts. A key is shown once, when it is made. */
import { useState, type ReactElement } from 'react';
import { addKey, fetchKeys, revokeKey, type Key, type Made } from '../../client/admin';
import { Badge, Line, Notice } from '../../ui/controls';
import { plural } from '../../ui/format';
import { Button, Confirm, Field, Form, List, Page, RoleChoice, Row, SearchBar, Secret, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { formatInstant, keyMatches, keyState, wordsOf } from './words';

interface AddProps extends SectionProps {
  readonly onMade: (name: string, made: Made) => void;
  readonly onCancel: () => void;
}

function AddKey({ tenant, onMade, onCancel }: AddProps): ReactElement {
  const [name, setName] = useState('');
  const [days, setDays] = useState('90');
  const [scopes, setScopes] = useState('');
  const [roles, setRoles] = useState<readonly string[]>(['integration']);
  const { busy, failure, run } = useAttempt();
  const life = Number(days);
  const sound = roles.length > 0 && Number.isInteger(life) && life >= 1 && life <= 366;
  const submit = (): void => run(async () => onMade(name.trim(), await addKey(tenant, { name, roles, scopes: wordsOf(scopes), days: life })));
  return (
    <Form title="Give a program a key" verb="Make the key" busy={busy} failure={failure} disabled={!sound} onSubmit={submit} onCancel={onCancel}>
      <Field label="Program" hint="Which one it is for, as you will look for it later." value={name} onChange={setName} first most={100} />
      <Field label="Days it is good for" hint="1 to 366." value={days} onChange={setDays} numeric most={3} />
      <Field
        label="Only for"
        hint="Actions or their beginnings: archive:study:query archive:instance:*. Empty: all that its roles may."
        value={scopes}
        onChange={setScopes}
        optional
        mono
        wide
      />
      <RoleChoice chosen={roles} onChange={setRoles} />
    </Form>
  );
}

interface RowProps extends SectionProps {
  readonly item: Key;
  readonly onChanged: () => void;
}

function KeyRow({ tenant, may, item, onChanged }: RowProps): ReactElement {
  const [asked, setAsked] = useState(false);
  const { busy, failure, run } = useAttempt();
  const state = keyState(item, Date.now());
  const over = state.tone === 'danger';
  const revoke = (): void =>
    run(async () => {
      await revokeKey(tenant, item.id);
      setAsked(false);
      onChanged();
    });
  return (
    <Row
      faded={over}
      title={<Line text={item.name} />}
      sub={<Line text={`by ${item.madeBy.replace(/^\w+:/, '')}, ${formatInstant(item.created).slice(0, 10)}`} />}
      middle={
        <>
          {item.roles.map((role) => (
            <Badge key={role}>{role}</Badge>
          ))}
          {item.scopes.length > 0 && <Line text={`only ${item.scopes.join(' ')}`} className="quiet mono" />}
        </>
      }
      meta={
        <span title={item.expires === null ? undefined : `Until ${formatInstant(item.expires)}`}>
          <Badge tone={state.tone}>{state.text}</Badge>
        </span>
      }
      actions={
        may('people:key:revoke') &&
        !over && (
          <Button kind="small" label={`Revoke ${item.name}`} expanded={asked} onPress={() => setAsked(!asked)}>
            Revoke
          </Button>
        )
      }
    >
      {asked && (
        <Confirm
          question={`Revoke the key of ${item.name}? Within seconds it opens nothing, for good.`}
          verb={`Revoke ${item.name}`}
          busy={busy}
          failure={failure}
          onYes={revoke}
          onNo={() => setAsked(false)}
        />
      )}
    </Row>
  );
}

export function Keys({ tenant, may }: SectionProps): ReactElement {
  const keys = useLoaded((options) => fetchKeys(tenant, options), `${tenant}`);
  const [words, setWords] = useState('');
  const [all, setAll] = useState(false);
  const [adding, setAdding] = useState(false);
  const [told, setTold] = useState<{ readonly name: string; readonly secret: string } | null>(null);
  const now = Date.now();
  const over = (keys.value ?? []).filter((key) => keyState(key, now).tone === 'danger').length;
  const good = (keys.value ?? []).length - over;
  const shown = (keys.value ?? []).filter(keyMatches(words.trim())).filter((key) => all || good === 0 || keyState(key, now).tone !== 'danger');
  const adds = may('people:key:create');
  const open = { label: 'Add a key', onPress: () => setAdding(true) };
  return (
    <Page
      title="Keys"
      lead="Programs sign in with a key: information systems, routers, scripts. Each has a name, roles and an end."
      actions={
        adds && (
          <Button kind="main" onPress={open.onPress}>
            {open.label}
          </Button>
        )
      }
    >
      {adding && (
        <AddKey
          tenant={tenant}
          may={may}
          onCancel={() => setAdding(false)}
          onMade={(name, made) => {
            setAdding(false);
            setTold({ name, secret: made.secret });
            keys.reload();
          }}
        />
      )}
      {told && (
        <Secret
          title={`Key of ${told.name}`}
          says="The program sends it with each request, as “Authorization: Bearer …”. It is kept here as a digest only and shown only now."
          secret={told.secret}
          what="the key"
          onDone={() => setTold(null)}
        />
      )}
      <SearchBar label="Search name, role, scope" value={words} onChange={setWords} count={keys.value ? plural(good, 'good key') : ''}>
        {over > 0 && good > 0 && (
          <button type="button" className="chip" aria-pressed={all} onClick={() => setAll(!all)}>
            With the old ones <span className="chip-count">{over}</span>
          </button>
        )}
      </SearchBar>
      <List
        label="Keys"
        loaded={keys}
        shown={shown}
        keyOf={(key) => key.id}
        words={words.trim()}
        clear={() => setWords('')}
        empty={<Notice title="No program has a key yet" advice="Add one for each program, so that each can be taken away alone." {...(adds && { action: open })} />}
        row={(key) => <KeyRow tenant={tenant} may={may} item={key} onChanged={keys.reload} />}
      />
    </Page>
  );
}
