/** "Prove again who you are": a card beside the work, never over the images; what waits for it goes on after. */
import { useEffect, useState, type FormEvent, type ReactElement } from 'react';
import { fetchWays, passkeysPossible, proveAtProvider, proveByPasskey, proveByPassword, type Ways } from '../client/people';
import { question, type Question } from '../store/proof';
import { session } from '../store/session';
import { useSignal } from '../store/signal';
import '../ui/glass.css';
import { useAttempt } from './form';

interface CardProps {
  readonly tenant: string | null;
  readonly asked: Question;
}

function Card({ tenant, asked }: CardProps): ReactElement {
  const who = useSignal(session);
  const [ways, setWays] = useState<Ways | null>(null);
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [failure, busy, attempt] = useAttempt();
  useEffect(() => {
    attempt(async () => setWays(await fetchWays(tenant)));
    // Once a question.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  const byPassword = (event: FormEvent): void => {
    event.preventDefault();
    attempt(async () => {
      try {
        await proveByPassword(tenant, password, code);
      } finally {
        setCode('');
      }
      asked.answer(true);
    });
  };
  const byPasskey = (): void =>
    attempt(async () => {
      await proveByPasskey(tenant);
      asked.answer(true);
    });
  const passkey = ways?.passkey === true && passkeysPossible();
  const provider = ways?.provider ?? null;
  const nothing = ways !== null && !ways.password && !passkey && !provider;
  const atProvider = (name: string): void =>
    attempt(async () => {
      const { pathname, search } = location;
      location.assign(await proveAtProvider(tenant, name, pathname + search));
    });
  return (
    <section
      className="prove-card"
      role="dialog"
      aria-labelledby="prove-title"
      onKeyDown={(event) => {
        event.stopPropagation(); // the keys of the page behind stay quiet while one types here
        if (event.key === 'Escape') asked.answer(false);
      }}
    >
      <h2 id="prove-title">Prove again who you are</h2>
      {!provider && <p className="quiet">What you asked for is done right after.</p>}
      {failure && (
        <p className="glass-failure" role="alert">
          <span className="strong">{failure.what}</span> {failure.advice}
        </p>
      )}
      {nothing && <p>There is nothing here to prove it with. Sign out and in again: for five minutes a sign-in is proof enough.</p>}
      {ways?.password && (
        <form onSubmit={byPassword}>
          <input type="text" autoComplete="username" value={who?.name ?? ''} readOnly hidden />
          <label className="glass-field">
            <span>Password of {who?.name}</span>
            <input
              type="password"
              value={password}
              autoComplete="current-password"
              autoFocus
              required
              onChange={(event) => setPassword(event.target.value)}
            />
          </label>
          {ways.code && (
            <label className="glass-field">
              <span>Code</span>
              <input
                type="text"
                value={code}
                autoComplete="one-time-code"
                autoCapitalize="none"
                spellCheck={false}
                required
                onChange={(event) => setCode(event.target.value)}
              />
            </label>
          )}
          <button type="submit" className="button button-main" disabled={busy}>
            {busy ? 'Checking…' : 'Prove and go on'}
          </button>
        </form>
      )}
      {passkey && (
        <button type="button" className="button" disabled={busy} onClick={byPasskey}>
          Use a passkey
        </button>
      )}
      {provider && (
        <>
          <p className="quiet">You sign in there once more and come back to this page; then ask again for what you wanted.</p>
          <button type="button" className="button button-main" disabled={busy} onClick={() => atProvider(provider.name)}>
            Sign in again at {provider.label}
          </button>
        </>
      )}
      <button type="button" className="button button-plain" onClick={() => asked.answer(false)}>
        Not now
      </button>
    </section>
  );
}

export function ProveAgain({ tenant }: { readonly tenant: string | null }): ReactElement | null {
  const asked = useSignal(question);
  return asked && <Card tenant={tenant} asked={asked} />;
}
