/** What this is, what it is not, and which keys it knows. */
import type { ReactElement } from 'react';
import { ACTIONS, type Action } from '../actions/viewer-actions';
import { CT_PRESETS } from '../geometry/window';
import { Icon } from '../ui/icons';

const KEY_NAMES: Record<string, string> = {
  ArrowDown: '↓',
  ArrowUp: '↑',
  ArrowLeft: '←',
  ArrowRight: '→',
  ' ': 'Space',
  PageDown: 'Page ↓',
  PageUp: 'Page ↑',
};

function Keys(): ReactElement {
  return (
    <dl className="keys">
      {Object.values<Action>(ACTIONS).map((action) => (
        <div key={action.name}>
          <dt>{action.keys.map((key) => KEY_NAMES[key] ?? key.toUpperCase()).join(' ')}</dt>
          <dd>{action.name}</dd>
        </div>
      ))}
      {CT_PRESETS.map((preset) => (
        <div key={preset.name}>
          <dt>{preset.key}</dt>
          <dd>{preset.name} (CT in HU)</dd>
        </div>
      ))}
    </dl>
  );
}

/** A button and the panel it opens; the panel closes by its own button, a click beside it or Escape. */
export function About(): ReactElement {
  return (
    <>
      <button type="button" className="icon-button" popoverTarget="about" title="About and keys" aria-label="About and keys">
        <Icon name="info" />
        <span className="icon-button-label">About</span>
      </button>
      <section id="about" popover="auto" className="about" aria-label="About Lightwell">
        <button type="button" className="icon-button about-close" popoverTarget="about" popoverTargetAction="hide" aria-label="Close">
          <Icon name="close" />
        </button>
        <h2>Lightwell {__LIGHTWELL_VERSION__}</h2>
        <p className="caution">Not a cleared medical device. Not for primary diagnosis.</p>
        <p>
          An open-source picture archive and viewer (Apache-2.0). Images are decoded and drawn by Cornerstone3D
          and vtk.js, and by the processor alone where there is no graphics card. The brightness of this screen
          is neither measured nor calibrated here.
        </p>
        <h3>Keys</h3>
        <Keys />
        <h3>Mouse and touch</h3>
        <p>
          Left button or one finger: the chosen tool. Wheel: scroll. Right button: zoom. Middle
          button: pan. Two fingers: zoom and pan. Double click: fit.
        </p>
        <h3>Three planes</h3>
        <p>
          The crosshair tool moves the point in which axial, coronal and sagittal plane meet. A plane in an amber
          frame is a preview: not every slice that it cuts through is here in full. Between slices values are
          interpolated in a straight line, or taken from the nearest one; oblique planes, slabs and MIP are not
          there yet.
        </p>
      </section>
    </>
  );
}
