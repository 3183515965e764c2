/** Signing in, and what a one-time link opens: a session, or choosing what one signs in with. */
import { useEffect, useState, type FormEvent, type ReactElement, type ReactNode } from 'react';
import {
  enrol,
  fetchBranding,
  fetchEnrolment,
  fetchProviders,
  isLoopback,
  passkeysPossible,
  providerPath,
  signInByLink,
  signInByPasskey,
  signInByPassword,
  type Branding,
  type Enrolment,
  type Provider,
  type SignedIn,
} from '../client/people';
import { listPath, signInPath } from '../client/place';
import { navigate } from '../store/navigation';
import { ended as sessionEnded, look } from '../store/session';
import { useSignal } from '../store/signal';
import { accented } from '../ui/accent';
import mark from '../ui/mark.svg';
import '../ui/sign-in.css';
import { useAttempt, type Failure } from './form';
import { ENDED, overText, problemText } from './sign-in-text';

interface CardProps {
  readonly title: string;
  readonly failure: Failure | null;
  /** Name of the tenant in the address; null is the first one. */
  readonly tenant: string | null;
  readonly children: ReactNode;
}

/** How the tenant of the address looks; until it is known, or cannot be asked, as every other. */
function useBranding(tenant: string | null): Branding {
  const plain = { label: tenant ?? 'default', accent: '', notice: '' };
  const [branding, setBranding] = useState<Branding | null>(null);
  useEffect(() => {
    const life = new AbortController();
    setBranding(null);
    fetchBranding(tenant, { signal: life.signal }).then(setBranding, () => undefined);
    return () => life.abort();
  }, [tenant]);
  return branding?.label ? branding : plain;
}

function Card(p: CardProps): ReactElement {
  const { label, accent, notice } = useBranding(p.tenant);
  useEffect(() => {
    document.title = 'Sign in · Lightwell';
  }, []);
  return (
    <main className="sign-in" style={accented(accent)}>
      <div className="sign-in-card">
        <div className="sign-in-brand">
          <img src={mark} alt="" width="28" height="28" />
          <span className="strong">Lightwell</span>
          <span className="sign-in-tenant" title="The tenant you sign in to; each has an address of its own, /t/NAME">
            {label}
          </span>
        </div>
        <h1>{p.title}</h1>
        {notice && <p className="sign-in-notice">{notice}</p>}
        {p.failure && (
          <p className="sign-in-failure" role="alert">
            <span className="strong">{p.failure.what}</span> {p.failure.advice}
          </p>
        )}
        {p.children}
      </div>
    </main>
  );
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly type?: 'text' | 'password';
  readonly complete: string;
  readonly digits?: boolean;
  readonly first?: boolean;
  readonly optional?: boolean;
  /** Say that it may stay empty. */
  readonly marked?: boolean;
}

function Field(p: FieldProps): ReactElement {
  return (
    <label className="sign-in-field">
      <span>
        {p.label}
        {p.marked && <span className="quiet"> (optional)</span>}
      </span>
      <input
        type={p.type ?? 'text'}
        value={p.value}
        autoComplete={p.complete}
        inputMode={p.digits ? 'numeric' : undefined}
        autoCapitalize="none"
        spellCheck={false}
        autoFocus={p.first}
        required={!p.optional}
        onChange={(event) => p.onChange(event.target.value)}
      />
      {p.hint && <small className="quiet">{p.hint}</small>}
    </label>
  );
}

interface PageProps {
  readonly tenant: string | null;
}

async function enter(tenant: string | null, stay: boolean): Promise<void> {
  if (!stay) navigate(listPath(tenant));
  await look(tenant);
}

/** Whom one can sign in through; none when they cannot be asked: password and passkey work without. */
function useProviders(tenant: string | null): readonly Provider[] {
  const [providers, setProviders] = useState<readonly Provider[]>([]);
  useEffect(() => {
    const life = new AbortController();
    fetchProviders(tenant, { signal: life.signal }).then(setProviders, () => undefined);
    return () => life.abort();
  }, [tenant]);
  return providers;
}

/** What went wrong on the way to a provider or back: the address says it once. */
function useProblem(): [Failure | null, () => void] {
  const [problem, setProblem] = useState(() => problemText(location.search));
  useEffect(() => {
    if (problem) history.replaceState(null, '', location.pathname);
  }, [problem]);
  return [problem, () => setProblem(null)];
}

/** Passkeys are bound to a name: at an address there are none, and this machine has a name. */
function PasskeyAdvice(): ReactElement | null {
  if (passkeysPossible() || typeof PublicKeyCredential === 'undefined') return null;
  if (!isLoopback(location.hostname)) {
    return <p className="quiet">Passkeys work where this archive is reached by a name, not by an address.</p>;
  }
  const there = new URL(location.href);
  there.hostname = 'localhost';
  return (
    <p className="quiet">
      For a passkey open this page at <a href={there.href}>{there.host}</a>: passkeys are bound to a name, never to an address.
    </p>
  );
}

export function SignIn({ tenant }: PageProps): ReactElement {
  const demo = tenant === 'demo';
  const ended = useSignal(sessionEnded);
  const over = ended ? ENDED : overText(location.search);
  const [login, setLogin] = useState('');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [failure, busy, work] = useAttempt();
  const [problem, forget] = useProblem();
  const providers = useProviders(tenant);
  const attempt = (what: () => Promise<void>): void => {
    forget();
    work(what);
  };
  const stay = !location.pathname.endsWith('/sign-in');
  const byPassword = (event: FormEvent): void => {
    event.preventDefault();
    attempt(async () => {
      try {
        await signInByPassword(tenant, login, password, code);
      } finally {
        setCode('');
      }
      await enter(tenant, stay);
    });
  };
  const byPasskey = (): void =>
    attempt(async () => {
      await signInByPasskey(tenant);
      await enter(tenant, stay);
    });
  return (
    <Card title="Sign in" failure={failure ?? problem} tenant={tenant}>
      {over && !failure && !problem && (
        <p className="sign-in-over" role="status">
          {over}
        </p>
      )}
      {providers.map((each) => (
        <a
          key={each.name}
          className="button sign-in-provider"
          href={providerPath(tenant, each, stay ? location.pathname + location.search : listPath(tenant))}
        >
          Sign in with {each.label}
        </a>
      ))}
      {providers.length > 0 && <p className="quiet">Or with an account of this archive:</p>}
      <form onSubmit={byPassword}>
        <Field label="Login" value={login} onChange={setLogin} complete="username webauthn" first />
        <Field label="Password" type="password" value={password} onChange={setPassword} complete="current-password" />
        <Field
          label="Code"
          hint={demo ? 'Demonstration accounts have none.' : 'From your authenticator, or a recovery code.'}
          value={code}
          onChange={setCode}
          complete="one-time-code"
          optional
          marked={demo}
        />
        <button type="submit" className="button sign-in-main" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
      {passkeysPossible() && (
        <button type="button" className="button" disabled={busy} onClick={byPasskey}>
          Use a passkey
        </button>
      )}
      <PasskeyAdvice />
      <p className="quiet sign-in-foot">Not a cleared medical device.</p>
    </Card>
  );
}

/** A link that signs in with a role: used as soon as the page is open. */
export function LinkSignIn({ tenant, token }: PageProps & { readonly token: string }): ReactElement {
  const [failure, , attempt] = useAttempt();
  useEffect(() => {
    history.replaceState(null, '', location.pathname); // the secret leaves the address bar
    attempt(async () => {
      await signInByLink(tenant, token);
      await enter(tenant, false);
    });
    // Once: the link is good once.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  return (
    <Card title={failure ? 'This link opens nothing' : 'Signing in…'} failure={failure} tenant={tenant}>
      {failure && (
        <button type="button" className="button" onClick={() => location.assign(signInPath(tenant))}>
          Sign in another way
        </button>
      )}
    </Card>
  );
}

interface CodesProps extends PageProps {
  readonly done: SignedIn;
  readonly onDone: () => void;
}

/** The codes as a file of one's own, made in the page: the server keeps digests of them only. */
function download(codes: readonly string[], name: string): void {
  const says = `Lightwell recovery codes of ${name} at ${location.host}. Each signs in once in the place of the authenticator's code.`;
  const file = new Blob([`${says}\n\n${codes.join('\n')}\n`], { type: 'text/plain' });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = 'lightwell-recovery-codes.txt';
  link.click();
  URL.revokeObjectURL(link.href);
}

function RecoveryCodes({ tenant, done, onDone }: CodesProps): ReactElement {
  const [copied, setCopied] = useState('');
  const copy = (): void => {
    const written = navigator.clipboard?.writeText(done.recoveryCodes.join('\n')) ?? Promise.reject(new Error('no clipboard'));
    written.then(
      () => setCopied('Copied'),
      () => setCopied('Select them and press Ctrl+C'),
    );
  };
  return (
    <Card title="Keep these codes" failure={null} tenant={tenant}>
      <p>Each signs you in once when your authenticator is lost. They are shown only now.</p>
      <ul className="sign-in-codes">
        {done.recoveryCodes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ul>
      <div className="sign-in-keep">
        <button type="button" className="button" aria-live="polite" onClick={copy}>
          {copied || 'Copy'}
        </button>
        <button type="button" className="button" onClick={() => download(done.recoveryCodes, done.name)}>
          Download
        </button>
      </div>
      <button type="button" className="button sign-in-main" onClick={onDone}>
        I have kept them
      </button>
    </Card>
  );
}

/** The link was opened at an address: the same one at this machine's name offers passkeys, too. */
function EnrolAdvice({ token }: { readonly token: string }): ReactElement | null {
  if (!isLoopback(location.hostname)) return null;
  const there = new URL(location.href);
  there.hostname = 'localhost';
  there.hash = token;
  return (
    <p className="quiet">
      For a passkey instead, <a href={there.href}>open this link at {there.host}</a>.
    </p>
  );
}

interface ChoiceProps extends PageProps {
  readonly token: string;
  readonly offer: Enrolment;
  readonly login: string;
  readonly name: string;
}

function Choice({ tenant, token, offer, login, name }: ChoiceProps): ReactElement {
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [done, setDone] = useState<SignedIn | null>(null);
  const [failure, busy, attempt] = useAttempt();
  if (done) return <RecoveryCodes tenant={tenant} done={done} onDone={() => void enter(tenant, false)} />;
  const who = { login, name };
  const byPasskey = (): void =>
    attempt(async () => {
      await enrol(tenant, token, offer, who, true);
      await enter(tenant, false);
    });
  const byPassword = (event: FormEvent): void => {
    event.preventDefault();
    attempt(async () => setDone(await enrol(tenant, token, offer, { ...who, password, code }, false)));
  };
  return (
    <Card title={`How will ${offer.login || login} sign in?`} failure={failure} tenant={tenant}>
      {!offer.passkey && <EnrolAdvice token={token} />}
      {offer.passkey && passkeysPossible() && (
        <>
          <button type="button" className="button sign-in-main" disabled={busy} onClick={byPasskey}>
            Make a passkey
          </button>
          <p className="quiet">With this device or a security key: nothing to remember. Or with:</p>
        </>
      )}
      <form onSubmit={byPassword}>
        <Field
          label="Password"
          hint="At least 12 characters; a few words are easy to remember."
          type="password"
          value={password}
          onChange={setPassword}
          complete="new-password"
        />
        <div className="sign-in-totp">
          <img src={offer.picture} alt="QR code for an authenticator app" width="164" height="164" />
          <div>
            <p>Scan it with an authenticator app, or type its secret:</p>
            <p className="sign-in-secret">{offer.secret}</p>
          </div>
        </div>
        <Field label="Code it shows now" value={code} onChange={setCode} complete="one-time-code" digits />
        <button type="submit" className="button sign-in-main" disabled={busy}>
          {busy ? 'Setting up…' : 'Use password and code'}
        </button>
      </form>
    </Card>
  );
}

/** A link that lets one choose what one signs in with; the first one makes the first administrator. */
export function Enrol({ tenant, token }: PageProps & { readonly token: string }): ReactElement {
  const [offer, setOffer] = useState<Enrolment | null>(null);
  const [named, setNamed] = useState(false);
  const [login, setLogin] = useState('');
  const [name, setName] = useState('');
  const [failure, busy, attempt] = useAttempt();
  useEffect(() => {
    attempt(async () => setOffer(await fetchEnrolment(tenant, token, '')));
    // Once: each offer has a secret and a challenge of its own.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  if (!offer) {
    return (
      <Card title={failure ? 'This link opens nothing' : 'Opening the link…'} failure={failure} tenant={tenant}>
        {failure && (
          <button type="button" className="button" onClick={() => location.assign(signInPath(tenant))}>
            Sign in
          </button>
        )}
      </Card>
    );
  }
  if (named || !offer.first) return <Choice tenant={tenant} token={token} offer={offer} login={login} name={name} />;
  const next = (event: FormEvent): void => {
    event.preventDefault();
    attempt(async () => {
      setOffer(await fetchEnrolment(tenant, token, login));
      setNamed(true);
    });
  };
  return (
    <Card title="Welcome. Make the first administrator." failure={failure} tenant={tenant}>
      <p className="quiet">Nobody else can sign in before. Others are added afterwards.</p>
      <form onSubmit={next}>
        <Field label="Login" hint="Letters, digits, . _ @ -" value={login} onChange={setLogin} complete="username" first />
        <Field label="Name" hint="As others see it." value={name} onChange={setName} complete="name" optional />
        <button type="submit" className="button sign-in-main" disabled={busy}>
          Continue
        </button>
      </form>
    </Card>
  );
}
