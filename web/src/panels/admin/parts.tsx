/** What the administration pages are made of: a page, rows, forms, questions in place, secrets shown once. */
import { useCallback, useEffect, useId, useRef, useState, type FormEvent, type ReactElement, type ReactNode } from 'react';
import { isAbort, RequestFailure, type RequestOptions } from '../../client/http';
import { Copyable, Notice } from '../../ui/controls';
import { formatCount } from '../../ui/format';
import { Icon } from '../../ui/icons';
import { ROLES } from './words';

const asFailure = (error: unknown): RequestFailure =>
  error instanceof RequestFailure ? error : new RequestFailure('That did not work.', 'Reload the page.');

// --- loading ------------------------------------------------------------------------------------------

export interface Loaded<T> {
  /** null until it was read once. */
  readonly value: T | null;
  readonly failure: RequestFailure | null;
  readonly reload: () => void;
}

/** Read something when the page opens, when asked to, and every `every` milliseconds while it is seen. */
export function useLoaded<T>(load: (options: RequestOptions) => Promise<T>, key: string, every = 0): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [failure, setFailure] = useState<RequestFailure | null>(null);
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const life = new AbortController();
    latest.current({ signal: life.signal }).then(
      (read) => {
        setValue(read);
        setFailure(null);
      },
      (error: unknown) => {
        if (!isAbort(error) && !life.signal.aborted) setFailure(asFailure(error));
      },
    );
    return () => life.abort();
  }, [key, turn]);
  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => {
      if (!document.hidden) setTurn((n) => n + 1);
    }, every);
    return () => clearInterval(timer);
  }, [every]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { value, failure, reload };
}

export interface Attempt {
  readonly busy: boolean;
  readonly failure: RequestFailure | null;
  /** One thing at a time: while it runs another one is not begun. */
  readonly run: (work: () => Promise<void>) => void;
  readonly forget: () => void;
}

export function useAttempt(): Attempt {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<RequestFailure | null>(null);
  const running = useRef(false);
  const run = (work: () => Promise<void>): void => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setFailure(null);
    work()
      .catch((error: unknown) => setFailure(asFailure(error)))
      .finally(() => {
        running.current = false;
        setBusy(false);
      });
  };
  return { busy, failure, run, forget: () => setFailure(null) };
}

export function Failure({ failure }: { readonly failure: RequestFailure | null }): ReactElement | null {
  return (
    failure && (
      <p className="admin-failure" role="alert">
        <b>{failure.what}</b> {failure.advice}
      </p>
    )
  );
}

// --- a page -------------------------------------------------------------------------------------------

interface PageProps {
  readonly title: string;
  readonly lead: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

export function Page(p: PageProps): ReactElement {
  useEffect(() => {
    document.title = `${p.title} · Lightwell`;
  }, [p.title]);
  return (
    <section className="admin-page-body" aria-labelledby="admin-title">
      <div className="admin-head">
        <div className="admin-head-text">
          <h1 id="admin-title">{p.title}</h1>
          <p className="quiet">{p.lead}</p>
        </div>
        {p.actions && <div className="admin-head-actions">{p.actions}</div>}
      </div>
      {p.children}
    </section>
  );
}

interface ListProps<T> {
  readonly label: string;
  readonly loaded: Loaded<readonly T[]>;
  readonly shown: readonly T[];
  readonly keyOf: (item: T) => string;
  readonly row: (item: T) => ReactElement;
  readonly empty: ReactElement;
  /** What was searched for; null where nothing is searched. */
  readonly words: string;
  readonly clear: () => void;
}

/** Rows, or what is there in their place: an outline while they load, what went wrong, that there are none. */
export function List<T>(p: ListProps<T>): ReactElement {
  const { loaded, shown } = p;
  const again = { label: 'Try again', onPress: loaded.reload };
  if (loaded.failure && loaded.value === null) {
    return <Notice alert title={loaded.failure.what} advice={loaded.failure.advice} action={again} />;
  }
  if (loaded.value === null) {
    return (
      <div className="admin-list" aria-hidden="true">
        {[0, 1, 2].map((n) => (
          <div key={n} className="admin-row admin-skeleton">
            <span className="bar" />
          </div>
        ))}
      </div>
    );
  }
  if (loaded.value.length === 0) return p.empty;
  if (shown.length === 0) {
    const clear = { label: 'Clear the search', onPress: p.clear };
    return <Notice title={`Nothing matches “${p.words}”`} advice={`${formatCount(loaded.value.length)} looked through.`} action={clear} />;
  }
  return (
    <>
      {loaded.failure && <Failure failure={loaded.failure} />}
      <ul className="admin-list" aria-label={p.label}>
        {shown.map((item) => (
          <li key={p.keyOf(item)}>{p.row(item)}</li>
        ))}
      </ul>
    </>
  );
}

interface SearchProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  /** "12 people", or nothing. */
  readonly count?: string;
  readonly children?: ReactNode;
}

export function SearchBar(p: SearchProps): ReactElement {
  return (
    <div className="admin-bar">
      <label className="search">
        <Icon name="search" />
        <input
          type="search"
          placeholder={p.label}
          aria-label={p.label}
          value={p.value}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => p.onChange(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Escape') p.onChange('');
          }}
        />
      </label>
      {p.children}
      <span className="count" role="status">
        {p.count}
      </span>
    </div>
  );
}

// --- rows ---------------------------------------------------------------------------------------------

interface RowProps {
  readonly lead?: ReactNode;
  readonly title: ReactNode;
  readonly sub?: ReactNode;
  readonly middle?: ReactNode;
  readonly meta?: ReactNode;
  readonly actions?: ReactNode;
  readonly faded?: boolean;
  /** What stands below: a question, a form, an answer. */
  readonly children?: ReactNode;
}

export function Row(p: RowProps): ReactElement {
  return (
    <div className="admin-row" data-faded={p.faded || undefined}>
      <div className="admin-row-line">
        {p.lead}
        <div className="admin-row-what">
          <span className="admin-row-title">{p.title}</span>
          {p.sub && <span className="admin-row-sub">{p.sub}</span>}
        </div>
        {p.middle !== undefined && <div className="admin-row-middle">{p.middle}</div>}
        {p.meta !== undefined && <div className="admin-row-meta">{p.meta}</div>}
        {p.actions && <div className="admin-row-actions">{p.actions}</div>}
      </div>
      {p.children}
    </div>
  );
}

interface ButtonProps {
  readonly onPress?: () => void;
  readonly children: ReactNode;
  readonly kind?: 'plain' | 'main' | 'danger' | 'small';
  readonly label?: string;
  readonly expanded?: boolean;
  readonly disabled?: boolean;
  readonly submit?: boolean;
}

const BUTTONS = { plain: 'button', main: 'button button-main', danger: 'button button-danger', small: 'button button-small' };

export function Button(p: ButtonProps): ReactElement {
  return (
    <button
      type={p.submit ? 'submit' : 'button'}
      className={BUTTONS[p.kind ?? 'plain']}
      aria-label={p.label}
      aria-expanded={p.expanded}
      disabled={p.disabled}
      onClick={p.onPress}
    >
      {p.children}
    </button>
  );
}

interface ConfirmProps {
  readonly question: string;
  /** What it does, with the name: "Revoke viewer". */
  readonly verb: string;
  readonly busy: boolean;
  readonly failure: RequestFailure | null;
  readonly onYes: () => void;
  readonly onNo: () => void;
  readonly harmless?: boolean;
}

/** A question in the place where it was asked; Escape keeps everything as it is. */
export function Confirm(p: ConfirmProps): ReactElement {
  const keep = useRef<HTMLButtonElement>(null);
  useEffect(() => keep.current?.focus(), []);
  return (
    <div
      className="admin-confirm"
      role="group"
      aria-label={p.question}
      onKeyDown={(event) => {
        if (event.key === 'Escape') p.onNo();
      }}
    >
      <p>{p.question}</p>
      <span className="admin-confirm-buttons">
        <Button kind={p.harmless ? 'main' : 'danger'} disabled={p.busy} onPress={p.onYes}>
          {p.busy ? 'One moment…' : p.verb}
        </Button>
        <button ref={keep} type="button" className="button" disabled={p.busy} onClick={p.onNo}>
          Keep as it is
        </button>
      </span>
      <Failure failure={p.failure} />
    </div>
  );
}

interface SecretProps {
  readonly title: string;
  /** What it is for, until when, and that it is shown once. */
  readonly says: string;
  readonly secret: string;
  readonly what: string;
  readonly onDone: () => void;
}

/** A secret that is told once: it stays until somebody says that it is kept. */
export function Secret(p: SecretProps): ReactElement {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    box.current?.focus();
    box.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  return (
    <div ref={box} className="admin-secret" role="group" aria-label={p.title} tabIndex={-1}>
      <p className="strong">{p.title}</p>
      <p className="quiet">{p.says}</p>
      <Copyable text={p.secret} label={p.title} what={p.what} />
      <Button onPress={p.onDone}>Done, it is kept</Button>
    </div>
  );
}

// --- forms --------------------------------------------------------------------------------------------

interface FormProps {
  readonly title?: string;
  readonly verb: string;
  readonly busy: boolean;
  readonly failure: RequestFailure | null;
  readonly onSubmit: () => void;
  readonly onCancel: () => void;
  readonly disabled?: boolean;
  /** What it does is not taken back. */
  readonly grave?: boolean;
  readonly children: ReactNode;
}

export function Form(p: FormProps): ReactElement {
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    p.onSubmit();
  };
  return (
    <form
      className="admin-form"
      aria-label={p.title ?? p.verb}
      onSubmit={submit}
      onKeyDown={(event) => {
        if (event.key === 'Escape') p.onCancel();
      }}
    >
      {p.title && <h2>{p.title}</h2>}
      <div className="admin-fields">{p.children}</div>
      <Failure failure={p.failure} />
      <div className="admin-form-buttons">
        <Button kind={p.grave ? 'danger' : 'main'} submit disabled={p.busy || p.disabled}>
          {p.busy ? 'One moment…' : p.verb}
        </Button>
        <Button onPress={p.onCancel} disabled={p.busy}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly hint?: string;
  /** Why what is typed is not taken, in the place of the hint; '' for nothing. */
  readonly wrong?: string;
  readonly placeholder?: string;
  readonly first?: boolean;
  readonly optional?: boolean;
  readonly numeric?: boolean;
  readonly fixed?: boolean;
  readonly mono?: boolean;
  readonly wide?: boolean;
  /** What nobody may read over a shoulder, and no browser keeps. */
  readonly hidden?: boolean;
  readonly most?: number;
}

export function Field(p: FieldProps): ReactElement {
  const id = useId();
  const hint = `${id}-hint`;
  return (
    <div className="admin-field" data-wide={p.wide || undefined}>
      <label className="admin-field-label" htmlFor={id}>
        {p.label}
        {p.optional && <span className="quiet"> (optional)</span>}
      </label>
      <input
        id={id}
        type={p.hidden ? 'password' : 'text'}
        value={p.value}
        placeholder={p.placeholder}
        className={p.mono ? 'mono' : undefined}
        autoFocus={p.first}
        required={!p.optional}
        readOnly={p.fixed}
        maxLength={p.most}
        inputMode={p.numeric ? 'numeric' : undefined}
        autoComplete={p.hidden ? 'new-password' : 'off'}
        autoCapitalize="none"
        spellCheck={false}
        aria-describedby={p.wrong || p.hint ? hint : undefined}
        aria-invalid={p.wrong ? true : undefined}
        onChange={(event) => p.onChange(event.target.value)}
      />
      {(p.wrong || p.hint) && (
        <small id={hint} className={p.wrong ? undefined : 'quiet'} data-wrong={p.wrong ? true : undefined} aria-live="polite">
          {p.wrong || p.hint}
        </small>
      )}
    </div>
  );
}

interface LinesProps {
  readonly label: string;
  readonly hint: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly fixed?: boolean;
}

/** Several values, each on a line of its own: names of institutions hold blanks and commas. */
export function Lines(p: LinesProps): ReactElement {
  const id = useId();
  return (
    <div className="admin-field">
      <label className="admin-field-label" htmlFor={id}>
        {p.label}
      </label>
      <textarea id={id} rows={3} value={p.value} readOnly={p.fixed} spellCheck={false} aria-describedby={`${id}-hint`} onChange={(event) => p.onChange(event.target.value)} />
      <small id={`${id}-hint`} className="quiet">
        {p.hint}
      </small>
    </div>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly options: readonly { readonly name: string; readonly says: string; readonly title?: string }[];
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
  /** One of them instead of several. */
  readonly single?: boolean;
  readonly disabled?: boolean;
}

/** Several options, each with a line that says what it means. */
export function Choice(p: ChoiceProps): ReactElement {
  const group = useId();
  const toggle = (name: string): void => {
    if (p.single) p.onChange([name]);
    else p.onChange(p.chosen.includes(name) ? p.chosen.filter((each) => each !== name) : [...p.chosen, name]);
  };
  return (
    <fieldset className="admin-choice" disabled={p.disabled}>
      <legend>{p.label}</legend>
      {p.options.map((option) => (
        <label key={option.name} className="admin-option" data-chosen={p.chosen.includes(option.name) || undefined}>
          <input
            type={p.single ? 'radio' : 'checkbox'}
            name={group}
            aria-labelledby={`${group}-${option.name}`}
            aria-describedby={`${group}-${option.name}-says`}
            checked={p.chosen.includes(option.name)}
            onChange={() => toggle(option.name)}
          />
          <span>
            <span id={`${group}-${option.name}`} className="strong">
              {option.title ?? option.name}
            </span>
            <small id={`${group}-${option.name}-says`} className="quiet">
              {option.says}
            </small>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

interface RolesProps {
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
}

/** Roles; one that this page does not know is offered by its name, so that saving does not take it away. */
export function RoleChoice({ chosen, onChange }: RolesProps): ReactElement {
  const strange = chosen.filter((name) => !ROLES.some((role) => role.name === name)).map((name) => ({ name, says: '' }));
  return <Choice label="Roles" options={[...ROLES, ...strange]} chosen={chosen} onChange={onChange} />;
}
