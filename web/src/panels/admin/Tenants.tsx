/** Tenants: who they are, by which AE title they are called, how they keep images, whether support is let in. */
import { useEffect, useState, type ReactElement } from 'react';
import {
  addTenant,
  changeTenant,
  eraseTenant,
  fetchConsent,
  fetchProspect,
  fetchRegions,
  fetchTenantDetails,
  giveConsent,
  limitTenant,
  resumeTenant,
  suspendTenant,
  type Region,
  type TenantDetail,
} from '../../client/admin';
import { adminPath, placeOf } from '../../client/place';
import { navigate } from '../../store/navigation';
import { session } from '../../store/session';
import { useSignal } from '../../store/signal';
import { Badge, Line, Notice } from '../../ui/controls';
import { formatCount, plural } from '../../ui/format';
import { EditTenant } from './EditTenant';
import { Button, Choice, Confirm, Failure, Field, Form, List, Page, Row, SearchBar, useAttempt, useLoaded } from './parts';
import type { SectionProps } from './sections';
import { formatBytes, formatInstant, matches, parsedBytes, SETTLING_NAMES, SETTLINGS, used } from './words';

const OPTIONS = SETTLINGS.map((each) => ({ ...each, title: SETTLING_NAMES[each.name] ?? each.name }));
const HOURS: readonly (readonly [number, string])[] = [
  [1, '1 hour'],
  [8, '8 hours'],
  [24, '1 day'],
  [72, '3 days'],
  [168, '7 days'],
];

interface HereProps extends SectionProps {
  readonly here: TenantDetail;
  readonly onChanged: () => void;
}

function Settings({ tenant, here, onChanged }: HereProps): ReactElement {
  const [label, setLabel] = useState(here.label);
  const [settling, setSettling] = useState(here.settling);
  const [asked, setAsked] = useState(false);
  const { busy, failure, run } = useAttempt();
  useEffect(() => {
    setLabel(here.label);
    setSettling(here.settling);
  }, [here.label, here.settling]);
  const changed = label.trim() !== here.label || settling !== here.settling;
  const loses = settling === 'pixel-exact' && here.settling !== 'pixel-exact';
  const save = (): void =>
    run(async () => {
      await changeTenant(tenant, {
        ...(label.trim() !== here.label && { label: label.trim() }),
        ...(settling !== here.settling && { settling }),
      });
      setAsked(false);
      onChanged();
    });
  const reset = (): void => {
    setLabel(here.label);
    setSettling(here.settling);
    setAsked(false);
  };
  return (
    <>
      <form
        className="admin-form"
        aria-label="Settings of this tenant"
        onSubmit={(event) => {
          event.preventDefault();
          if (loses) setAsked(true);
          else save();
        }}
      >
        <div className="admin-fields">
          <Field label="Name shown to people" value={label} onChange={setLabel} most={100} wide />
          <Choice single label="How quiet series are kept from now on" options={OPTIONS} chosen={[settling]} onChange={([chosen = settling]) => setSettling(chosen)} />
        </div>
        {!asked && <Failure failure={failure} />}
        {changed && !asked && (
          <div className="admin-form-buttons">
            <Button kind="main" submit disabled={busy || !label.trim()}>
              {busy ? 'One moment…' : 'Save'}
            </Button>
            <Button onPress={reset} disabled={busy}>
              Undo
            </Button>
          </div>
        )}
      </form>
      {asked && (
        <Confirm
          question={`Keep series of ${here.label} pixel-exact from now on? Every pixel value comes back, but after its grace the received bytes of lossless compressed images do not, for nobody. What is packed so cannot be undone.`}
          verb={`Keep ${here.name} pixel-exact`}
          busy={busy}
          failure={failure}
          onYes={save}
          onNo={reset}
        />
      )}
    </>
  );
}

function Consent({ tenant, here, may }: HereProps): ReactElement {
  const consent = useLoaded((options) => fetchConsent(tenant, options), `${tenant}`);
  const [hours, setHours] = useState(8);
  const { busy, failure, run } = useAttempt();
  const gives = may('tenants:support:consent');
  const admit = (span: number): void =>
    run(async () => {
      await giveConsent(tenant, span);
      consent.reload();
    });
  const until = consent.value;
  return (
    <section className="admin-form" aria-label="Support">
      <h2>Support</h2>
      <p className="quiet">
        People with the role support see studies, background work and machines of {here.label} while they are let in, and nothing else at any time.
      </p>
      {consent.failure && <Failure failure={consent.failure} />}
      <p>
        {until === null ? 'Support is not let in.' : <b>Support is let in until {formatInstant(until)}.</b>}
      </p>
      <Failure failure={failure} />
      {gives && (
        <div className="admin-form-buttons">
          <select aria-label="For how long" value={hours} onChange={(event) => setHours(Number(event.target.value))}>
            {HOURS.map(([each, says]) => (
              <option key={each} value={each}>
                {says}
              </option>
            ))}
          </select>
          <Button disabled={busy} onPress={() => admit(hours)}>
            {until === null ? 'Let support in' : 'Let in from now for that long'}
          </Button>
          {until !== null && (
            <Button kind="danger" disabled={busy} onPress={() => admit(0)}>
              End it now
            </Button>
          )}
        </div>
      )}
    </section>
  );
}

interface AddProps extends SectionProps {
  readonly regions: readonly Region[];
  readonly onDone: (made: TenantDetail | null) => void;
}

function AddTenant({ tenant, regions, onDone }: AddProps): ReactElement {
  const [name, setName] = useState('');
  const [label, setLabel] = useState('');
  const [aet, setAet] = useState('');
  const [touched, setRegion] = useState('');
  const { busy, failure, run } = useAttempt();
  const several = regions.length > 1;
  const region = touched || (regions[0]?.name ?? '');
  const submit = (): void => run(async () => onDone(await addTenant(tenant, { name, label, aet, ...(several && { region }) })));
  return (
    <Form title="Make a tenant" verb="Make the tenant" busy={busy} failure={failure} onSubmit={submit} onCancel={() => onDone(null)}>
      <Field label="Name" hint="a-z, 0-9 and -. It is part of addresses (/t/NAME) and of what is stored, for ever." value={name} onChange={setName} first mono most={40} />
      <Field label="AE title" hint="By which machines call it: up to 16 characters." value={aet} onChange={setAet} mono most={16} />
      <Field label="Name shown to people" value={label} onChange={setLabel} optional wide most={100} />
      {several && (
        <Choice
          single
          label="Where its images lie, for ever"
          options={regions.map((each) => ({ name: each.name, says: `Under the law of ${each.jurisdiction}.` }))}
          chosen={[region]}
          onChange={([chosen = region]) => setRegion(chosen)}
        />
      )}
    </Form>
  );
}

interface LifeProps extends SectionProps {
  readonly of: TenantDetail;
  readonly onDone: (changed: boolean) => void;
}

function Quota({ tenant, of, onDone }: LifeProps): ReactElement {
  const [bytes, setBytes] = useState(of.quotaBytes === null ? '' : formatBytes(of.quotaBytes));
  const [studies, setStudies] = useState(of.quotaStudies === null ? '' : `${of.quotaStudies}`);
  const { busy, failure, run } = useAttempt();
  // What was not touched stays as it is: the text is rounded.
  const untouched = of.quotaBytes !== null && bytes === formatBytes(of.quotaBytes);
  const size = untouched ? of.quotaBytes : parsedBytes(bytes);
  const noSize = bytes.trim() !== '' && size === null;
  const noNumber = !/^\d{0,15}$/.test(studies.trim());
  const save = (): void =>
    run(async () => {
      await limitTenant(tenant, of.name, {
        bytes: bytes.trim() ? size : null,
        studies: studies.trim() ? Number(studies.trim()) : null,
      });
      onDone(true);
    });
  return (
    <Form title={`How much ${of.label} may keep`} verb="Save" busy={busy} disabled={noSize || noNumber} failure={failure} onSubmit={save} onCancel={() => onDone(false)}>
      <Field label="Bytes" hint="Like 2 TB or 500 GB; nothing: no limit." wrong={noSize ? 'That is no size: write it like 500 GB or 2 TB, or leave it empty.' : ''} value={bytes} onChange={setBytes} optional first most={20} />
      <Field label="Studies" hint="Nothing: no limit." wrong={noNumber ? 'That is no number: write it like 100000, or leave it empty.' : ''} value={studies} onChange={setStudies} optional numeric most={15} />
    </Form>
  );
}

function Suspend({ tenant, of, onDone }: LifeProps): ReactElement {
  const [reason, setReason] = useState('');
  const { busy, failure, run } = useAttempt();
  const suspend = (): void =>
    run(async () => {
      await suspendTenant(tenant, of.name, reason);
      onDone(true);
    });
  return (
    <Form
      title={`Suspend ${of.label}`}
      verb={`Suspend ${of.name}`}
      busy={busy}
      disabled={!reason.trim()}
      failure={failure}
      onSubmit={suspend}
      onCancel={() => onDone(false)}
    >
      <p className="quiet admin-wide">
        Within seconds nobody of it is signed in any more, its addresses are not there, and its machines are told to try again later. Nothing is
        deleted; you can resume it here.
      </p>
      <Field label="Why" hint="For whoever resumes it." value={reason} onChange={setReason} first wide most={200} />
    </Form>
  );
}

function Resume({ tenant, of, onDone }: LifeProps): ReactElement {
  const { busy, failure, run } = useAttempt();
  const resume = (): void =>
    run(async () => {
      await resumeTenant(tenant, of.name);
      onDone(true);
    });
  return (
    <Confirm
      question={`Serve ${of.label} again? Its keys and machines are let in at once, its people sign in anew.`}
      verb={`Resume ${of.name}`}
      busy={busy}
      failure={failure}
      onYes={resume}
      onNo={() => onDone(false)}
      harmless
    />
  );
}

/** Asked for with its name typed once more, under the figures of what goes. */
function Erase({ tenant, of, onDone }: LifeProps): ReactElement {
  const prospect = useLoaded((options) => fetchProspect(tenant, of.name, options), `${tenant}/${of.name}`);
  const [typed, setTyped] = useState('');
  const [reason, setReason] = useState('');
  const { busy, failure, run } = useAttempt();
  const erase = (): void =>
    run(async () => {
      await eraseTenant(tenant, of.name, typed.trim(), reason);
      onDone(true);
    });
  const goes = prospect.value;
  return (
    <Form
      title={`Erase ${of.label}`}
      verb={`Erase ${of.name} for good`}
      grave
      busy={busy}
      disabled={typed.trim() !== of.name || !reason.trim() || goes === null || goes.obstacle !== null}
      failure={failure ?? prospect.failure}
      onSubmit={erase}
      onCancel={() => onDone(false)}
    >
      <p className="admin-wide">
        {goes === null
          ? 'Counting what would go…'
          : `${plural(goes.studies, 'study', 'studies')} with ${plural(goes.objects, 'object')}, ${formatBytes(goes.bytes)}, and everything else of it: people, keys, machines, policies, decisions, its record of what was done.`}{' '}
        Nothing brings it back but a copy of yours: export it first. The name {of.name} is given out never again; who erased it, when, and why
        stays in the record of the installation.
      </p>
      {goes?.obstacle && (
        <p className="admin-failure admin-wide" role="alert">
          {goes.obstacle}
        </p>
      )}
      <Field label="Its name once more" hint={of.name} value={typed} onChange={setTyped} first mono most={40} />
      <Field label="Why" hint="It stays in the record; no names of patients." value={reason} onChange={setReason} wide most={200} />
    </Form>
  );
}

const LIFE = { edit: EditTenant, quota: Quota, suspend: Suspend, resume: Resume, erase: Erase } as const;

export function Tenants({ tenant, may }: SectionProps): ReactElement {
  const who = useSignal(session);
  const [goes, setGoes] = useState(false);
  const tenants = useLoaded((options) => fetchTenantDetails(tenant, options), `${tenant}`, goes ? 3000 : 0);
  const [words, setWords] = useState('');
  const [adding, setAdding] = useState(false);
  const [opened, setOpened] = useState<{ readonly name: string; readonly what: keyof typeof LIFE } | null>(null);
  const all = tenants.value ?? [];
  const going = all.some((each) => each.erasing);
  useEffect(() => setGoes(going), [going]); // looked at again until it is gone
  const here = all.find((each) => each.name === who?.tenant);
  const makes = may('tenants:tenant:create');
  const configures = may('tenants:tenant:configure');
  const names = may('tenants:tenant:name');
  const regions = useLoaded(async (options) => (makes ? fetchRegions(tenant, options) : []), `${tenant} ${makes}`);
  const placed = (regions.value ?? []).length > 1 || new Set(all.map((each) => each.region)).size > 1;
  const limits = may('tenants:tenant:limit');
  const suspends = may('tenants:tenant:suspend');
  const erases = may('tenants:tenant:erase') && who?.tenant === 'default';
  const several = makes || all.length > 1;
  const life = (each: TenantDetail): ReactElement | null => {
    if (opened?.name !== each.name) return null;
    const Part = LIFE[opened.what];
    const done = (changed: boolean): void => {
      setOpened(null);
      if (changed) tenants.reload();
    };
    return <Part key={opened.what} tenant={tenant} may={may} of={each} onDone={done} />;
  };
  const go = (name: string): void => navigate(adminPath(placeOf(name), 'tenants'));
  return (
    <Page
      title={several ? 'Tenants' : 'Tenant'}
      lead="A tenant has its own patients, people, machines and policies; nothing of it is seen from another."
      actions={
        makes && (
          <Button kind="main" onPress={() => setAdding(true)}>
            Make a tenant
          </Button>
        )
      }
    >
      {adding && <Failure failure={regions.failure} />}
      {adding && (
        <AddTenant
          tenant={tenant}
          may={may}
          regions={regions.value ?? []}
          onDone={(made) => {
            setAdding(false);
            if (made) tenants.reload();
          }}
        />
      )}
      {several && (
        <SearchBar label="Search name, AE title, host" value={words} onChange={setWords} count={tenants.value ? plural(all.length, 'tenant') : ''} />
      )}
      <List
        label="Tenants"
        loaded={tenants}
        shown={all.filter((each) => matches(words.trim(), each.name, each.label, each.aet, ...each.titles, ...each.hosts))}
        keyOf={(each) => each.name}
        words={words.trim()}
        clear={() => setWords('')}
        empty={<Notice title="There is no tenant that you may see" advice="Ask an administrator of the installation." />}
        row={(each) => (
          <Row
            title={
              <>
                <Line text={each.label} />
                {each.name === here?.name && <Badge tone="info">This one</Badge>}
                {each.demo && <Badge>Demo</Badge>}
                {each.suspended && <Badge tone="danger">{each.erasing ? 'Being erased' : 'Suspended'}</Badge>}
              </>
            }
            sub={
              <>
                <Line text={each.name} className="mono" />
                {each.suspension && <Line text={each.suspension} />}
              </>
            }
            faded={each.suspended}
            middle={<Line text={[each.aet, ...each.titles, ...each.hosts].join(', ')} className="mono" />}
            meta={
              <span className="quiet">
                {used(formatCount(each.usedStudies), each.quotaStudies === null ? null : formatCount(each.quotaStudies))} studies,{' '}
                {used(formatBytes(each.usedBytes), each.quotaBytes === null ? null : formatBytes(each.quotaBytes))}
                <br />
                {SETTLING_NAMES[each.settling] ?? each.settling}
                {placed && `, region ${each.region}`}
              </span>
            }
            actions={
              <>
                {((configures && !each.suspended) || names) && !each.erasing ? (
                  <Button kind="small" label={`Edit ${each.label}`} onPress={() => setOpened({ name: each.name, what: 'edit' })}>
                    Edit
                  </Button>
                ) : null}
                {limits && !each.erasing && (
                  <Button kind="small" label={`Quota of ${each.label}`} onPress={() => setOpened({ name: each.name, what: 'quota' })}>
                    Quota
                  </Button>
                )}
                {suspends && each.name !== 'default' && !each.erasing && (
                  <Button
                    kind="small"
                    label={`${each.suspended ? 'Resume' : 'Suspend'} ${each.label}`}
                    onPress={() => setOpened({ name: each.name, what: each.suspended ? 'resume' : 'suspend' })}
                  >
                    {each.suspended ? 'Resume' : 'Suspend'}
                  </Button>
                )}
                {erases && each.suspended && !each.erasing && (
                  <Button kind="small" label={`Erase ${each.label}`} onPress={() => setOpened({ name: each.name, what: 'erase' })}>
                    Erase
                  </Button>
                )}
                {each.name !== here?.name && !each.suspended && (
                  <Button kind="small" label={`Go there, to ${each.label}`} onPress={() => go(each.name)}>
                    Go there
                  </Button>
                )}
              </>
            }
          >
            {life(each)}
          </Row>
        )}
      />
      {here && (
        <section className="admin-here" aria-label={`This tenant: ${here.label}`}>
          <h2>{here.label}</h2>
          {may('tenants:tenant:configure') && <Settings tenant={tenant} may={may} here={here} onChanged={tenants.reload} />}
          {may('policy:rule:list') && <Consent tenant={tenant} may={may} here={here} onChanged={tenants.reload} />}
        </section>
      )}
    </Page>
  );
}
