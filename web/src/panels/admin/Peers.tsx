/** DICOM peers: who may connect and what they may do, whether they answer, what came of them, who was turned away. */
import { useState, type ReactElement } from 'react';
import {
  fetchDoor,
  fetchPeers,
  probePeer,
  putPeer,
  removePeer,
  type Machine,
  type Peer,
  type PeerBody,
  type PeerPage,
  type Probe,
  type RefusedCall,
} from '../../client/admin';
import { Badge, Line, Notice } from '../../ui/controls';
import { formatAgo, formatCount, plural } from '../../ui/format';
import { StateMark } from '../../ui/job-marks';
import { Button, Choice, Confirm, Failure, Field, Form, List, Page, Row, SearchBar, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { fingerprint, formatBytes, formatInstant, unbroken, GRANTS, matches, PEER_TYPES, wordsOf } from './words';

const LOOK = 5_000;

const NEW: PeerBody = {
  aet: '',
  host: '',
  port: 104,
  type: 'modality',
  allow: [],
  site: null,
  issuer: null,
  charset: null,
  zone: null,
  syntaxes: [],
  certificate: null,
  revoked: false,
  identity: false,
  days: null,
  replace: false,
};
const bodyOf = ({ callable: _callable, may: _may, ...peer }: Peer): PeerBody => ({ ...peer, replace: true });

interface EditProps extends SectionProps {
  readonly begin: PeerBody;
  readonly page: PeerPage | null;
  readonly onDone: (changed: boolean) => void;
}

function EditPeer({ tenant, begin, page, onDone }: EditProps): ReactElement {
  const [peer, setPeer] = useState(begin);
  const [port, setPort] = useState(String(begin.port));
  const [days, setDays] = useState(begin.days === null ? '' : String(begin.days));
  const [syntaxes, setSyntaxes] = useState(begin.syntaxes.join(' '));
  const [own, setOwn] = useState(begin.allow.length > 0);
  const { busy, failure, run } = useAttempt();
  const set = (part: Partial<PeerBody>): void => setPeer({ ...peer, ...part });
  const optional = (value: string): string | null => value.trim() || null;
  const byType = page?.types.get(peer.type) ?? [];
  const number = Number(port);
  const back = days.trim() === '' ? null : Number(days);
  const sound =
    Number.isInteger(number) &&
    number >= 0 &&
    number <= 65535 &&
    port.trim() !== '' &&
    (back === null || (Number.isInteger(back) && back >= 0 && back <= 36_500));
  const submit = (): void =>
    run(async () => {
      const certificate = peer.certificate ? fingerprint(peer.certificate) : null;
      await putPeer(tenant, {
        ...peer,
        aet: peer.aet.trim(),
        host: peer.host.trim(),
        port: number,
        // "Echo" alone stands for nothing more, where an empty list stands for what the type may.
        allow: own ? ['echo', ...peer.allow.filter((grant) => grant !== 'echo')] : [],
        syntaxes: wordsOf(syntaxes),
        certificate,
        days: back,
      });
      onDone(true);
    });
  return (
    <Form
      title={begin.replace ? `Change ${begin.aet}` : 'Let a machine in'}
      verb={begin.replace ? `Save ${begin.aet}` : 'Let it in'}
      busy={busy}
      failure={failure}
      disabled={!sound}
      onSubmit={submit}
      onCancel={() => onDone(false)}
    >
      <Field label="AE title" value={peer.aet} onChange={(aet) => set({ aet })} fixed={begin.replace} first={!begin.replace} mono most={16} hint={begin.replace ? 'Another title is another machine.' : 'As it calls itself, up to 16 characters.'} />
      <Field label="Address" value={peer.host} onChange={(host) => set({ host })} mono most={255} hint="Host name, address, or network (192.0.2.0/24). It is let in from there only." />
      <Field label="Port" value={port} onChange={setPort} numeric mono most={5} hint="Where it listens; 0 when it does not." />
      <Choice single label="Kind of machine" options={PEER_TYPES} chosen={[peer.type]} onChange={([type = peer.type]) => set({ type })} />
      <Choice
        single
        label="What it may do"
        options={[
          { name: 'type', title: 'What its kind may', says: grantsText(byType) },
          { name: 'own', title: 'What I choose', says: 'Instead of what its kind may.' },
        ]}
        chosen={[own ? 'own' : 'type']}
        onChange={([chosen]) => setOwn(chosen === 'own')}
      />
      {own && <Choice label="It may" options={GRANTS} chosen={peer.allow} onChange={(allow) => set({ allow })} />}
      <details className="admin-more">
        <summary>More: site, patient IDs, character set, TLS certificate</summary>
        <div className="admin-fields">
          <Field label="Site" hint="Without a certificate it sees studies of this Institution Name only." value={peer.site ?? ''} onChange={(site) => set({ site: optional(site) })} optional most={64} />
          <Field label="Issuer of its patient IDs" hint="When its objects name none." value={peer.issuer ?? ''} onChange={(issuer) => set({ issuer: optional(issuer) })} optional most={64} />
          <Field label="Character set" hint="When its objects name none: ISO_IR 100" value={peer.charset ?? ''} onChange={(charset) => set({ charset: optional(charset) })} optional mono most={64} />
          <Field label="Time zone" hint="Europe/Berlin" value={peer.zone ?? ''} onChange={(zone) => set({ zone: optional(zone) })} optional mono most={64} />
          <Field label="Transfer syntaxes it wants" hint="UIDs, best first." value={syntaxes} onChange={setSyntaxes} optional mono wide />
          <Field label="SHA-256 of its TLS certificate" hint="64 hexadecimal digits. With it the address no longer counts." value={peer.certificate ?? ''} onChange={(certificate) => set({ certificate: certificate.trim() ? certificate : null })} optional mono wide most={100} />
          <Field label="Days it sees back" hint="By when a study was received; 0 is all. Empty: 365, with a certificate all." value={days} onChange={setDays} optional numeric mono most={5} />
        </div>
        <Choice
          single
          label="Who it speaks for"
          options={[
            { name: 'itself', title: 'For itself, unless it says otherwise', says: 'It is known by its address or certificate.' },
            { name: 'named', title: 'It must say', says: 'Every association names a program or person, and proves it.' },
          ]}
          chosen={[peer.identity ? 'named' : 'itself']}
          onChange={([chosen]) => set({ identity: chosen === 'named' })}
        />
      </details>
    </Form>
  );
}

/** "store, find", or that it may only ask whether we are here. */
const grantsText = (grants: readonly string[]): string => grants.filter((grant) => grant !== 'echo').join(', ') || 'echo only';

/** "1,204 stored (1.2 GB), 3 failed, 18 searches". */
function machineText(machine: Machine): string {
  const parts = [
    machine.stored > 0 && `${formatCount(machine.stored)} stored (${unbroken(formatBytes(machine.bytes))})`,
    machine.storeFailures > 0 && `${formatCount(machine.storeFailures)} not stored`,
    machine.queries > 0 && plural(machine.queries, 'search', 'searches'),
    machine.retrievals > 0 && plural(machine.retrievals, 'retrieval'),
    machine.sent > 0 && `${formatCount(machine.sent)} sent`,
    machine.sendFailures > 0 && `${formatCount(machine.sendFailures)} not sent`,
    machine.denied > 0 && `${formatCount(machine.denied)} not allowed`,
  ].filter(Boolean);
  return `${plural(machine.associations, 'association')}${parts.length > 0 ? `: ${parts.join(', ')}` : ''}`;
}

interface RowProps extends SectionProps {
  readonly peer: Peer;
  readonly page: PeerPage | null;
  readonly machine: Machine | undefined;
  readonly turnedAway: number;
  readonly counted: boolean;
  readonly onChanged: () => void;
}

function PeerRow({ tenant, may, peer, page, machine, turnedAway, counted, onChanged }: RowProps): ReactElement {
  const [open, setOpen] = useState<'change' | 'remove' | 'shut' | null>(null);
  const [probing, setProbing] = useState<'echo' | 'trial-image' | null>(null);
  const [answer, setAnswer] = useState<Probe | null>(null);
  const { busy, failure, run, forget } = useAttempt();
  const toggle = (what: typeof open): void => {
    forget();
    setOpen(open === what ? null : what);
  };
  const probe = (how: 'echo' | 'trial-image'): void => {
    setAnswer(null);
    setProbing(how);
    run(async () => {
      try {
        setAnswer(await probePeer(tenant, peer.aet, how));
      } finally {
        setProbing(null);
      }
    });
  };
  const act = (work: () => Promise<unknown>): void =>
    run(async () => {
      await work();
      setOpen(null);
      onChanged();
    });
  const tests = may('peers:peer:probe') && peer.callable;
  const changes = may('peers:peer:add');
  return (
    <Row
      faded={peer.revoked}
      title={
        <>
          <Line text={peer.aet} className="mono" />
          {peer.revoked && <Badge tone="danger">Shut out</Badge>}
          {turnedAway > 0 && <Badge tone="warn">{`${formatCount(turnedAway)} turned away`}</Badge>}
        </>
      }
      sub={<Line text={`${peer.host}:${peer.port}${peer.site ? ` · ${peer.site}` : ''}`} className="mono" />}
      middle={
        <>
          <Badge>{peer.type}</Badge>
          <Line text={grantsText(peer.may)} className="quiet" />
        </>
      }
      meta={
        counted && (
          <span title={machine ? `Last heard of ${formatInstant(machine.heard)}; counted since the server started` : undefined}>
            {machine ? machineText(machine) : 'Not heard of since the start'}
            {machine && machine.heard !== null && <span className="quiet"> · {unbroken(formatAgo(Date.now() - machine.heard))}</span>}
          </span>
        )
      }
      actions={
        <>
          {tests && (
            <Button kind="small" label={`Echo to ${peer.aet}`} disabled={busy} onPress={() => probe('echo')}>
              Echo
            </Button>
          )}
          {tests && (
            <Button kind="small" label={`Send test image to ${peer.aet}`} disabled={busy} onPress={() => probe('trial-image')}>
              Send test
            </Button>
          )}
          {changes && (
            <Button kind="small" label={`Change ${peer.aet}`} expanded={open === 'change'} onPress={() => toggle('change')}>
              Change
            </Button>
          )}
          {changes && (
            <Button
              kind="small"
              label={`${peer.revoked ? 'Let in again' : 'Shut out'} ${peer.aet}`}
              expanded={open === 'shut'}
              onPress={() => toggle('shut')}
            >
              {peer.revoked ? 'Let in' : 'Shut out'}
            </Button>
          )}
          {may('peers:peer:remove') && (
            <Button kind="small" label={`Remove ${peer.aet}`} expanded={open === 'remove'} onPress={() => toggle('remove')}>
              Remove
            </Button>
          )}
        </>
      }
    >
      {probing && (
        <p className="probe" role="status">
          <StateMark state="running" /> {probing === 'echo' ? `Calling ${peer.aet}…` : `Sending ${peer.aet} a test image…`}
        </p>
      )}
      {answer && !probing && (
        <p className="probe" role="status" data-well={answer.well || undefined}>
          <StateMark state={answer.well ? 'done' : 'failed'} /> {answer.said}
        </p>
      )}
      {!open && <Failure failure={failure} />}
      {open === 'change' && (
        <EditPeer
          tenant={tenant}
          may={may}
          begin={bodyOf(peer)}
          page={page}
          onDone={(changed) => {
            setOpen(null);
            if (changed) onChanged();
          }}
        />
      )}
      {open === 'shut' && (
        <Confirm
          harmless={peer.revoked}
          question={
            peer.revoked
              ? `Let ${peer.aet} in again, with what it may do as before?`
              : `Shut ${peer.aet} out? It stays listed; associations under way end by themselves and the next is refused.`
          }
          verb={peer.revoked ? `Let ${peer.aet} in` : `Shut ${peer.aet} out`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => putPeer(tenant, { ...bodyOf(peer), revoked: !peer.revoked }))}
          onNo={() => setOpen(null)}
        />
      )}
      {open === 'remove' && (
        <Confirm
          question={`Remove ${peer.aet}? It is refused from the next association on, and what was set for it is gone. Its images stay.`}
          verb={`Remove ${peer.aet}`}
          busy={busy}
          failure={failure}
          onYes={() => act(() => removePeer(tenant, peer.aet))}
          onNo={() => setOpen(null)}
        />
      )}
    </Row>
  );
}

interface RefusedProps {
  readonly refused: readonly RefusedCall[];
  readonly known: ReadonlySet<string>;
  readonly onRegister: ((call: RefusedCall) => void) | null;
}

const WHY: Readonly<Record<string, string>> = {
  'calling AE title not recognised': 'Its AE title is not registered',
  'called AE title not recognised': 'It called a title that is none of ours',
  'calling AE title from another address': 'It came from another address than is registered',
  'calling AE title with another certificate': 'It came with another certificate',
  'peer revoked': 'It is shut out',
  'peer did not say who it speaks for': 'It did not say who it speaks for',
  'who it speaks for was not proved': 'It did not prove who it speaks for',
};

function Refused({ refused, known, onRegister }: RefusedProps): ReactElement {
  if (refused.length === 0) {
    return <Notice title="Nobody was turned away" advice="Since the server started. Machines that are refused show here with their address, so that they can be let in." />;
  }
  return (
    <ul className="admin-list" aria-label="Turned away">
      {refused.map((call) => (
        <li key={`${call.called} ${call.calling} ${call.address} ${call.why}`}>
          <Row
            title={<Line text={call.calling} className="mono" />}
            sub={<Line text={`from ${call.address}, calling ${call.called}`} className="mono" />}
            middle={<span>{WHY[call.why] ?? call.why}</span>}
            meta={
              <span title={formatInstant(call.at)}>
                {call.times > 1 ? `${formatCount(call.times)} times, last ` : ''}
                {call.at === null ? '' : formatAgo(Date.now() - call.at)}
              </span>
            }
            actions={
              onRegister &&
              !known.has(call.calling) &&
              call.why === 'calling AE title not recognised' && (
                <Button kind="small" label={`Let ${call.calling} in`} onPress={() => onRegister(call)}>
                  Let it in
                </Button>
              )
            }
          />
        </li>
      ))}
    </ul>
  );
}

export function Peers({ tenant, may }: SectionProps): ReactElement {
  const counted = may('peers:door:read');
  const page = useLoaded((options) => fetchPeers(tenant, options), `${tenant}`);
  const door = useLoaded(async (options) => (counted ? fetchDoor(tenant, options) : null), `${tenant} ${counted}`, counted ? LOOK : 0);
  const [words, setWords] = useState('');
  const [adding, setAdding] = useState<PeerBody | null>(null);
  const peers = page.value?.items ?? [];
  const refused = door.value?.refused ?? [];
  const adds = may('peers:peer:add');
  const open = { label: 'Let a machine in', onPress: () => setAdding(NEW) };
  const turnedAway = (aet: string): number =>
    refused.filter((call) => call.calling === aet && call.called === page.value?.aet).reduce((sum, call) => sum + call.times, 0);
  return (
    <Page
      title="Peers"
      lead={`DICOM machines that may connect, and from where.${page.value ? ` They call this tenant by the AE title ${page.value.aet}.` : ''} A change counts from the next association on.`}
      actions={
        adds && (
          <Button kind="main" onPress={open.onPress}>
            {open.label}
          </Button>
        )
      }
    >
      {adding && (
        <EditPeer
          key={adding.aet}
          tenant={tenant}
          may={may}
          begin={adding}
          page={page.value}
          onDone={(changed) => {
            setAdding(null);
            if (changed) page.reload();
          }}
        />
      )}
      <SearchBar
        label="Search AE title, address, site"
        value={words}
        onChange={setWords}
        count={page.value ? plural(peers.length, 'peer') : ''}
      />
      <List
        label="Peers"
        loaded={{ ...page, value: page.value && peers }}
        shown={peers.filter((peer) => matches(words.trim(), peer.aet, peer.host, peer.type, peer.site ?? '', ...peer.may))}
        keyOf={(peer) => peer.aet}
        words={words.trim()}
        clear={() => setWords('')}
        empty={
          <Notice
            title="No machine may connect yet"
            advice="Let the first one in: its AE title, its address, and what kind of machine it is."
            {...(adds && { action: open })}
          />
        }
        row={(peer) => (
          <PeerRow
            tenant={tenant}
            may={may}
            peer={peer}
            page={page.value}
            machine={door.value?.machines.get(peer.aet)}
            turnedAway={turnedAway(peer.aet)}
            counted={counted && door.value !== null}
            onChanged={page.reload}
          />
        )}
      />
      {counted && (
        <section className="admin-here" aria-label="Turned away lately">
          <h2>Turned away lately</h2>
          {door.failure && <Failure failure={door.failure} />}
          {door.value && (
            <Refused
              refused={refused}
              known={new Set(peers.map((peer) => peer.aet))}
              onRegister={
                adds
                  ? (call) => {
                      setAdding({ ...NEW, aet: call.calling, host: call.address });
                      document.querySelector('.admin-main')?.scrollTo({ top: 0 });
                    }
                  : null
              }
            />
          )}
        </section>
      )}
    </Page>
  );
}
