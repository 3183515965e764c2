/** A mark for each state of a piece of work: its form says it, its colour says it again. */
import type { ReactElement } from 'react';

const MARKS = {
  running: 'M8 2.5a5.5 5.5 0 1 1-5.5 5.5',
  waiting: 'M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11',
  failed: 'M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11M8 5v3.6M8 10.9v.1',
  done: 'M3.5 8.4 6.6 11.5 12.5 5',
  cancelled: 'M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11M4.2 11.8l7.6-7.6',
} as const;

export function StateMark({ state }: { readonly state: keyof typeof MARKS }): ReactElement {
  return (
    <svg className={`state-mark state-${state}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={MARKS[state]} />
    </svg>
  );
}
