/** Why may somebody do something, or not? Every action for one account or for roles, with the policies that decide. */
import { useId, useState, type ReactElement } from 'react';
import { fetchExplained, fetchPeople, type Decision, type Explained } from '../../client/admin';
import { session } from '../../store/session';
import { useSignal } from '../../store/signal';
import { Notice } from '../../ui/controls';
import { formatCount } from '../../ui/format';
import { Icon } from '../../ui/icons';
import { Failure, Page, SearchBar, useLoaded } from './parts';
import { Effect } from './Policies';
import type { SectionProps } from './sections';
import { actionText, byRoom, reasonText, ROLES } from './words';

interface DecisionProps {
  readonly decision: Decision;
  readonly explained: Explained;
}

/** One action: yes or no, why, and, when opened, the wording of what decided. */
function DecisionRow({ decision, explained }: DecisionProps): ReactElement {
  const policies = decision.policies.map((name) => explained.policies.get(name)).filter((policy) => policy !== undefined);
  const line = (
    <>
      <span className="verdict" data-allowed={decision.allowed || undefined}>
        <Icon name={decision.allowed ? 'check' : 'close'} />
        <span className="verdict-word">{decision.partly ? 'Some' : decision.allowed ? 'Yes' : 'No'}</span>
      </span>
      <span className="admin-row-what">
        <span className="admin-row-title">{actionText(decision.action)}</span>
        <span className="admin-row-sub mono">{decision.action}</span>
      </span>
      <span className="explain-reason">{reasonText(decision)}</span>
    </>
  );
  if (policies.length === 0) return <div className="explain-row">{line}</div>;
  return (
    <details className="explain-details">
      <summary className="explain-row">
        {line}
        <Icon name="down" />
      </summary>
      {policies.map((policy) => (
        <div key={policy.name} className="explain-policy">
          <p>
            <span className="mono">{policy.name}</span> <Effect policy={policy} />
          </p>
          <pre className="admin-code">{policy.text}</pre>
        </div>
      ))}
    </details>
  );
}

interface AnswerProps extends SectionProps {
  readonly login: string;
  readonly role: string;
}

function Answer({ tenant, login, role }: AnswerProps): ReactElement {
  const { value, failure } = useLoaded((options) => fetchExplained(tenant, { login, roles: role ? [role] : [] }, options), `${tenant} ${login} ${role}`);
  const [words, setWords] = useState('');
  if (failure) return <Failure failure={failure} />;
  if (!value) return <p className="quiet admin-wait">Asking the policies…</p>;
  const allowed = value.decisions.filter((decision) => decision.allowed).length;
  const rooms = byRoom(value.decisions, words.trim());
  return (
    <>
      <SearchBar
        label="Search an action"
        value={words}
        onChange={setWords}
        count={`${formatCount(allowed)} of ${formatCount(value.decisions.length)} allowed`}
      />
      {rooms.length === 0 && <Notice title={`Nothing matches “${words.trim()}”`} advice="Actions are searched by what they do and by name." />}
      {rooms.map((room) => (
        <section key={room.name} className="explain-room" aria-label={room.name}>
          <h2>{room.name}</h2>
          <div className="admin-box">
            {room.decisions.map((decision) => (
              <DecisionRow key={decision.action} decision={decision} explained={value} />
            ))}
          </div>
        </section>
      ))}
    </>
  );
}

/** Whom to ask about: an account by its login, or a role. Who may see the people chooses among them. */
export function Explain({ tenant, may }: SectionProps): ReactElement {
  const who = useSignal(session);
  const sees = may('people:person:list');
  const people = useLoaded(async (options) => (sees ? fetchPeople(tenant, options) : []), `${tenant} ${sees}`);
  const [login, setLogin] = useState('');
  const [role, setRole] = useState('');
  const names = useId();
  const known = people.value ?? [];
  // A login that is still being typed is not asked about where the accounts are known.
  const typed = login.trim().toLowerCase();
  const sound = typed !== '' && (!sees || known.some((person) => person.login === typed));
  return (
    <Page title="Why?" lead={`What somebody may do in ${who?.label || 'this tenant'}, and which policy says so. Asked now, of the policies in force.`}>
      <div className="explain-who">
        <label className="admin-field">
          <span className="admin-field-label">Account</span>
          <input
            type="text"
            list={names}
            value={login}
            placeholder={sees ? 'Login' : 'Type a login'}
            autoComplete="off"
            autoCapitalize="none"
            spellCheck={false}
            onChange={(event) => {
              setLogin(event.target.value);
              setRole('');
            }}
          />
          <datalist id={names}>
            {known.map((person) => (
              <option key={person.login} value={person.login}>
                {person.name}
              </option>
            ))}
          </datalist>
        </label>
        <span className="quiet">or</span>
        <label className="admin-field">
          <span className="admin-field-label">Anybody with the role</span>
          <select
            value={role}
            onChange={(event) => {
              setRole(event.target.value);
              setLogin('');
            }}
          >
            <option value="">Choose a role</option>
            {ROLES.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
      </div>
      {sound || role ? (
        <Answer key={`${typed} ${role}`} tenant={tenant} may={may} login={role ? '' : typed} role={role} />
      ) : typed && people.value ? (
        <Notice title={`There is no account “${typed}” here`} advice="Choose one from the list, or ask about a role." />
      ) : (
        <Notice title="About whom?" advice="Choose an account or a role: every action is shown with yes or no, and why." />
      )}
    </Page>
  );
}
