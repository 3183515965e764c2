/** The question "who are you?" in the middle of the work: asked once, however many requests wait for it. */
import { onProofWanted } from '../client/http';
import { session } from './session';
import { Signal } from './signal';

export interface Question {
  /** The person has proved it, or would rather not. */
  readonly answer: (proved: boolean) => void;
}

export const question = new Signal<Question | null>(null);

let asked: Promise<boolean> | null = null;

/** Ask; the same answer goes to everybody who waits for one. */
export function askForProof(): Promise<boolean> {
  asked ??= new Promise<boolean>((resolve) => {
    question.set({
      answer: (proved) => {
        question.set(null);
        asked = null;
        resolve(proved);
      },
    });
  });
  return asked;
}

onProofWanted(askForProof);

// Whoever is signed out has nothing to prove any more.
session.subscribe(() => {
  if (session.value === null) question.value?.answer(false);
});
