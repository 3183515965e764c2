/** What the forms of the house share: one attempt at a time, and its failure in words. */
import { useState } from 'react';
import { RequestFailure } from '../client/http';

export interface Failure {
  readonly what: string;
  readonly advice: string;
}

const failureOf = (error: unknown): Failure =>
  error instanceof RequestFailure
    ? { what: error.what, advice: error.advice }
    : { what: 'That did not work.', advice: 'Try again.' };

/** One thing at a time: while it runs the form is shut, and what went wrong is said. */
export function useAttempt(): [Failure | null, boolean, (work: () => Promise<void>) => void] {
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const attempt = (work: () => Promise<void>): void => {
    setBusy(true);
    setFailure(null);
    work().then(
      () => setBusy(false),
      (error: unknown) => {
        setBusy(false);
        setFailure(failureOf(error));
      },
    );
  };
  return [failure, busy, attempt];
}
