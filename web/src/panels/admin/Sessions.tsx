/** Who is signed in: since when, last seen, how and from where; ended one by one or all at once. */
import { useState, type ReactElement } from 'react';
import {
  endOwnOthers,
  endSession,
  endSessionsOf,
  fetchOwnSessions,
  fetchSessions,
  type Session,
} from '../../client/admin';
import { Badge, Line, Notice } from '../../ui/controls';
import { formatAgo, formatSpan, plural } from '../../ui/format';
import { Button, Confirm, List, Page, Row, SearchBar, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { agentText, formatInstant, howText, sessionMatches } from './words';

const LOOK = 15_000;

interface RowProps {
  readonly item: Session;
  /** Ends the session; without it the row only tells. */
  readonly end: (() => Promise<unknown>) | null;
  readonly onChanged: () => void;
}

function SessionRow({ item, end, onChanged }: RowProps): ReactElement {
  const [asked, setAsked] = useState(false);
  const { busy, failure, run } = useAttempt();
  const now = Date.now();
  const from = [item.origin, agentText(item.agent)].filter(Boolean).join(' · ');
  return (
    <Row
      title={
        <>
          <Line text={item.name} />
          {item.mine && <Badge tone="info">This one</Badge>}
        </>
      }
      sub={<Line text={from} />}
      middle={<span className="quiet">{howText(item.how)}</span>}
      meta={
        <span title={`Signed in ${formatInstant(item.since)}, ends ${formatInstant(item.until)} at the latest`}>
          seen {item.seen === null ? '–' : formatAgo(now - item.seen)}, in for {item.since === null ? '–' : formatSpan(now - item.since)}
        </span>
      }
      actions={
        end &&
        !item.mine && (
          <Button kind="small" label={`End the session of ${item.name}`} expanded={asked} onPress={() => setAsked(!asked)}>
            End
          </Button>
        )
      }
    >
      {asked && end && (
        <Confirm
          question={`End this session of ${item.name}? What they have not saved is lost; they can sign in again.`}
          verb={`End the session of ${item.name}`}
          busy={busy}
          failure={failure}
          onYes={() =>
            run(async () => {
              await end();
              setAsked(false);
              onChanged();
            })
          }
          onNo={() => setAsked(false)}
        />
      )}
    </Row>
  );
}

interface EndAllProps {
  readonly question: string;
  readonly verb: string;
  readonly end: () => Promise<unknown>;
  readonly onDone: () => void;
}

function EndAll({ question, verb, end, onDone }: EndAllProps): ReactElement {
  const { busy, failure, run } = useAttempt();
  const yes = (): void =>
    run(async () => {
      await end();
      onDone();
    });
  return <Confirm question={question} verb={verb} busy={busy} failure={failure} onYes={yes} onNo={onDone} />;
}

export function Sessions({ tenant, may }: SectionProps): ReactElement {
  const sessions = useLoaded((options) => fetchSessions(tenant, options), `${tenant}`, LOOK);
  const [words, setWords] = useState('');
  const [ending, setEnding] = useState(false);
  const ends = may('people:session:revoke');
  const others = (sessions.value ?? []).filter((each) => !each.mine).length;
  return (
    <Page
      title="Sessions"
      lead="Who is signed in now. An ended session is refused at every door within seconds."
      actions={
        ends &&
        others > 0 && (
          <Button expanded={ending} onPress={() => setEnding(!ending)}>
            End all others
          </Button>
        )
      }
    >
      {ending && (
        <EndAll
          question={`End ${plural(others, 'session')} of everybody but yourself? They can sign in again.`}
          verb={`End ${plural(others, 'session')}`}
          end={() => endSessionsOf(tenant, null)}
          onDone={() => {
            setEnding(false);
            sessions.reload();
          }}
        />
      )}
      <SearchBar
        label="Search who, how, from where"
        value={words}
        onChange={setWords}
        count={sessions.value ? plural(sessions.value.length, 'session') : ''}
      />
      <List
        label="Sessions"
        loaded={sessions}
        shown={(sessions.value ?? []).filter(sessionMatches(words.trim()))}
        keyOf={(each) => each.id}
        words={words.trim()}
        clear={() => setWords('')}
        empty={<Notice title="Nobody is signed in" advice="Programs with keys have no sessions; they are under Keys." />}
        row={(each) => <SessionRow item={each} end={ends ? () => endSession(tenant, each.id) : null} onChanged={sessions.reload} />}
      />
    </Page>
  );
}

/** One's own: everybody sees where they are signed in, and can end it elsewhere. */
export function OwnSessions({ tenant }: SectionProps): ReactElement {
  const sessions = useLoaded((options) => fetchOwnSessions(tenant, options), `${tenant}`, LOOK);
  const [ending, setEnding] = useState(false);
  const others = (sessions.value ?? []).filter((each) => !each.mine).length;
  return (
    <Page
      title="Your sign-ins"
      lead="Where you are signed in. If one of them is not you, end the others and ask an administrator for a new link."
      actions={
        others > 0 && (
          <Button expanded={ending} onPress={() => setEnding(!ending)}>
            End the others
          </Button>
        )
      }
    >
      {ending && (
        <EndAll
          question={`End your ${plural(others, 'other session')}? This one stays.`}
          verb={`End ${plural(others, 'session')}`}
          end={() => endOwnOthers(tenant)}
          onDone={() => {
            setEnding(false);
            sessions.reload();
          }}
        />
      )}
      <List
        label="Your sign-ins"
        loaded={sessions}
        shown={sessions.value ?? []}
        keyOf={(each) => each.id}
        words=""
        clear={() => undefined}
        empty={<Notice title="No sign-in of yours is known here" advice="Sessions belong to the tenant you signed in at." />}
        row={(each) => <SessionRow item={each} end={null} onChanged={sessions.reload} />}
      />
    </Page>
  );
}
