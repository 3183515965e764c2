/** What is in force: the policies that ship, and what the tenant adds to them. */
import { useId, useState, type ReactElement } from 'react';
import { fetchPolicies, putPolicy, removePolicy, type Policy } from '../../client/admin';
import { Badge, Line, Notice } from '../../ui/controls';
import { plural } from '../../ui/format';
import { Button, Confirm, Form, List, Page, Row, SearchBar, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { matches } from './words';

const TEMPLATE = `@id("no-corrections-from-outside")
@reason("corrections are made inside the hospital only")
forbid (principal, action in Action::"correct", resource)
when { context.network == "public" };
`;

interface WriteProps extends SectionProps {
  readonly begin: string;
  readonly title: string;
  readonly onDone: (changed: boolean) => void;
}

function WritePolicy({ tenant, begin, title, onDone }: WriteProps): ReactElement {
  const field = useId();
  const [text, setText] = useState(begin);
  const { busy, failure, run } = useAttempt();
  const submit = (): void =>
    run(async () => {
      await putPolicy(tenant, text);
      onDone(true);
    });
  return (
    <Form title={title} verb="Put it in force" busy={busy} failure={failure} disabled={!text.trim()} onSubmit={submit} onCancel={() => onDone(false)}>
      <div className="admin-field" data-wide>
        <label className="admin-field-label" htmlFor={field}>
          Cedar
        </label>
        <textarea id={field} className="mono" rows={8} value={text} spellCheck={false} autoFocus maxLength={16384} onChange={(event) => setText(event.target.value)} />
        <small className="quiet">
          One policy, with its name and the sentence that whoever is refused will read. It is checked before it counts; a policy that forbids wins
          over every one that permits.
        </small>
      </div>
    </Form>
  );
}

export function Effect({ policy }: { readonly policy: Policy }): ReactElement {
  return policy.effect === 'permit' ? <Badge tone="good">permits</Badge> : <Badge tone="danger">forbids</Badge>;
}

interface RowProps extends SectionProps {
  readonly policy: Policy;
  readonly onChanged: () => void;
}

function PolicyRow({ tenant, may, policy, onChanged }: RowProps): ReactElement {
  const [open, setOpen] = useState<'text' | 'write' | 'remove' | null>(null);
  const { busy, failure, run } = useAttempt();
  const own = !policy.shipped && may('policy:rule:change');
  const toggle = (what: typeof open): void => setOpen(open === what ? null : what);
  return (
    <Row
      title={
        <>
          <Line text={policy.name} className="mono" />
          {!policy.shipped && <Badge tone="info">Own</Badge>}
        </>
      }
      sub={<Line text={policy.reason} />}
      meta={<Effect policy={policy} />}
      actions={
        <>
          {own && (
            <Button kind="small" label={`Take back ${policy.name}`} expanded={open === 'remove'} onPress={() => toggle('remove')}>
              Take back
            </Button>
          )}
          {own && (
            <Button kind="small" label={`Change ${policy.name}`} expanded={open === 'write'} onPress={() => toggle('write')}>
              Change
            </Button>
          )}
          <Button kind="small" label={`Text of ${policy.name}`} expanded={open === 'text'} onPress={() => toggle('text')}>
            Text
          </Button>
        </>
      }
    >
      {open === 'text' && <pre className="admin-code">{policy.text}</pre>}
      {open === 'write' && (
        <WritePolicy
          tenant={tenant}
          may={may}
          begin={policy.text}
          title={`Change ${policy.name}`}
          onDone={(changed) => {
            setOpen(null);
            if (changed) onChanged();
          }}
        />
      )}
      {open === 'remove' && (
        <Confirm
          question={`Take the policy ${policy.name} back? From then on it decides nothing; its text is not kept.`}
          verb={`Take back ${policy.name}`}
          busy={busy}
          failure={failure}
          onYes={() =>
            run(async () => {
              await removePolicy(tenant, policy.name);
              onChanged();
            })
          }
          onNo={() => setOpen(null)}
        />
      )}
    </Row>
  );
}

export function Policies({ tenant, may }: SectionProps): ReactElement {
  const policies = useLoaded((options) => fetchPolicies(tenant, options), `${tenant}`);
  const [words, setWords] = useState('');
  const [writing, setWriting] = useState(false);
  const all = policies.value ?? [];
  const own = all.filter((policy) => !policy.shipped).length;
  const wanted = words.trim();
  // The tenant's own first: they are what somebody here decided.
  const shown = [...all.filter((policy) => !policy.shipped), ...all.filter((policy) => policy.shipped)].filter((policy) =>
    matches(wanted, policy.name, policy.reason, policy.text, policy.effect),
  );
  return (
    <Page
      title="Policies"
      lead="Nothing is allowed unless a policy permits it, and one that forbids always wins. What ships cannot be changed; a tenant adds its own."
      actions={
        may('policy:rule:change') && (
          <Button kind="main" onPress={() => setWriting(true)}>
            Write a policy
          </Button>
        )
      }
    >
      {writing && (
        <WritePolicy
          tenant={tenant}
          may={may}
          begin={TEMPLATE}
          title="Write a policy of the tenant’s own"
          onDone={(changed) => {
            setWriting(false);
            if (changed) policies.reload();
          }}
        />
      )}
      <SearchBar
        label="Search name, sentence, text"
        value={words}
        onChange={setWords}
        count={policies.value ? `${plural(all.length, 'policy', 'policies')}, ${own} own` : ''}
      />
      <List
        label="Policies"
        loaded={policies}
        shown={shown}
        keyOf={(policy) => policy.name}
        words={wanted}
        clear={() => setWords('')}
        empty={<Notice title="No policy is in force" advice="Then nothing is allowed to anybody." />}
        row={(policy) => <PolicyRow tenant={tenant} may={may} policy={policy} onChanged={policies.reload} />}
      />
    </Page>
  );
}
