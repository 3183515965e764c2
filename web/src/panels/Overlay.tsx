/** What is written over an image: corners, letters at the edges, marks. */
import type { ReactElement } from 'react';
import type { StudyDetail } from '../client/console';
import type { EdgeLabels } from '../geometry/orientation';

interface CornerProps {
  readonly place: string;
  readonly lines: readonly string[];
  readonly warnings?: readonly string[];
}

export function Corner({ place, lines, warnings = [] }: CornerProps): ReactElement {
  return (
    <div className={`corner corner-${place}`}>
      {warnings.map((line) => (
        <span key={line} className="line warning" title={line}>
          {line}
        </span>
      ))}
      {lines.map((line, i) => (
        <span key={i} className="line" title={line}>
          {line}
        </span>
      ))}
    </div>
  );
}

export function EdgeLetters({ labels }: { readonly labels: EdgeLabels | null }): ReactElement {
  if (!labels) return <span className="edge edge-unknown">orientation unknown</span>;
  return (
    <>
      <span className="edge edge-top" data-edge="top">{labels.top}</span>
      <span className="edge edge-right" data-edge="right">{labels.right}</span>
      <span className="edge edge-bottom" data-edge="bottom">{labels.bottom}</span>
      <span className="edge edge-left" data-edge="left">{labels.left}</span>
    </>
  );
}

interface MarksProps {
  readonly study: StudyDetail | null;
  readonly demo: boolean;
  /** What is said of a picture that is not final; "" of one that is. */
  readonly preview: string;
}

export function PaneMarks({ study, demo, preview }: MarksProps): ReactElement {
  const outside = study?.outside ?? false;
  return (
    <div className="pane-marks">
      {demo && <span className="mark mark-demo">DEMO</span>}
      {outside && <span className="mark mark-outside">{['OUTSIDE', study?.institution].filter(Boolean).join(' · ')}</span>}
      {study?.patientChanged && <span className="mark mark-warn">patient data changed</span>}
      {preview && <span className="mark mark-warn">{preview}</span>}
    </div>
  );
}
