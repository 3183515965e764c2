/** How a tenant looks to its people, and by what machines and browsers call it. */
import { useId, useState, type ReactElement } from 'react';
import { changeTenant, nameTenant, type TenantDetail, type TenantLooks } from '../../client/admin';
import { accentOf } from '../../ui/accent';
import { Field, Form, Lines, useAttempt } from './parts';
import type { SectionProps } from './sections';
import { linesOf } from './words';

const NOTICE_MOST = 500;
const HOUSE_ACCENT = '#5fb3ce';

interface AccentProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  /** What is written in it, to be looked at. */
  readonly sample: string;
}

function Accent({ value, onChange, sample }: AccentProps): ReactElement {
  const id = useId();
  const colour = accentOf(value.trim().toLowerCase());
  return (
    <div className="admin-field">
      <label className="admin-field-label" htmlFor={id}>
        Accent
        <span className="quiet"> (optional)</span>
      </label>
      <span className="accent-pick">
        <input type="color" aria-label="Pick the accent" value={colour || HOUSE_ACCENT} onChange={(event) => onChange(event.target.value)} />
        <input
          id={id}
          className="mono"
          value={value}
          placeholder={HOUSE_ACCENT}
          maxLength={7}
          autoComplete="off"
          spellCheck={false}
          aria-describedby={`${id}-hint`}
          onChange={(event) => onChange(event.target.value)}
        />
        {colour && (
          <span className="accent-sample" style={{ color: colour }} aria-hidden="true">
            {sample}
          </span>
        )}
      </span>
      <small id={`${id}-hint`} className="quiet">
        Of the sign-in page and the headers. It is read on dark ground: a colour that is too dark is refused.
      </small>
    </div>
  );
}

interface NoticeProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function SignInNotice({ value, onChange }: NoticeProps): ReactElement {
  const id = useId();
  return (
    <div className="admin-field" data-wide>
      <label className="admin-field-label" htmlFor={id}>
        Notice on the sign-in page
        <span className="quiet"> (optional)</span>
      </label>
      <textarea
        id={id}
        className="notice-text"
        rows={4}
        value={value}
        maxLength={NOTICE_MOST}
        aria-describedby={`${id}-hint`}
        onChange={(event) => onChange(event.target.value.replaceAll(/\s+/g, ' '))}
      />
      <small id={`${id}-hint`} className="quiet">
        One paragraph of plain text. Everybody who knows the address reads it: no passwords, no patients.
      </small>
    </div>
  );
}

interface EditProps extends SectionProps {
  readonly of: TenantDetail;
  readonly onDone: (changed: boolean) => void;
}

const same = (one: readonly string[], other: readonly string[]): boolean => one.join('\n') === other.join('\n');

export function EditTenant({ tenant, may, of, onDone }: EditProps): ReactElement {
  const [label, setLabel] = useState(of.label);
  const [accent, setAccent] = useState(of.accent);
  const [notice, setNotice] = useState(of.notice);
  const [zone, setZone] = useState(of.zone);
  const [titles, setTitles] = useState(of.titles.join('\n'));
  const [hosts, setHosts] = useState(of.hosts.join('\n'));
  const { busy, failure, run } = useAttempt();
  const names = may('tenants:tenant:name');
  // The addresses of a suspended tenant are not there: how it looks can be changed when it is served again.
  const looks = may('tenants:tenant:configure') && !of.suspended;
  const save = (): void =>
    run(async () => {
      const chosen: TenantLooks = {
        ...(label.trim() !== of.label && { label: label.trim() }),
        ...(accent.trim() !== of.accent && { accent: accent.trim() }),
        ...(notice.trim() !== of.notice && { notice: notice.trim() }),
        ...(zone.trim() !== of.zone && { zone: zone.trim() }),
      };
      // By its name, also that of the first one: at the host of a tenant the bare address is that tenant's.
      if (looks && Object.keys(chosen).length > 0) await changeTenant(of.name, chosen);
      const called = { titles: linesOf(titles), hosts: linesOf(hosts) };
      if (names && !(same(called.titles, of.titles) && same(called.hosts, of.hosts))) await nameTenant(tenant, of.name, called);
      onDone(true);
    });
  return (
    <Form title={`Edit ${of.label}`} verb={`Save ${of.name}`} busy={busy} disabled={looks && !label.trim()} failure={failure} onSubmit={save} onCancel={() => onDone(false)}>
      {looks && (
        <>
          <Field label="Name shown to people" value={label} onChange={setLabel} first most={100} />
          <Accent value={accent} onChange={setAccent} sample={label.trim() || of.name} />
          <SignInNotice value={notice} onChange={setNotice} />
          <Field label="Time zone" hint="What policies mean by the time of day, like Europe/Berlin; nothing: the server’s." value={zone} onChange={setZone} optional mono most={100} />
        </>
      )}
      {names && (
        <>
          <Lines label="Further AE titles" hint={`One a line, each of one tenant. ${of.aet}, its first, stays.`} value={titles} onChange={setTitles} />
          <Lines label="Hosts" hint="One a line: at https://HOST/ is this tenant, without /t/NAME." value={hosts} onChange={setHosts} />
        </>
      )}
    </Form>
  );
}
