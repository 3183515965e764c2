/** A stack as a volume: three planes that meet, or the sentence that says why not. */
import { useEffect, useMemo, useRef, useState, type ReactElement } from 'react';
import type { StudyDetail } from '../client/console';
import type { Stack } from '../dicom-model/stacks';
import { tooLarge, volumeOf, type Volume } from '../dicom-model/volume';
import { edgeLabels } from '../geometry/orientation';
import { UPRIGHT } from '../geometry/view';
import { numberOf, placeOn, PLANES, type PlaneName } from '../geometry/volume';
import { useSignal } from '../store/signal';
import type { ViewerStore } from '../store/viewer';
import { bindPointer } from '../tools/pointer';
import { Notice } from '../ui/controls';
import type { FrameCache } from '../viewport/frame-cache';
import { MprView, type MprState } from '../viewport/mpr-view';
import { onScreen } from '../viewport/plane-view';
import type { Outlook, StackView } from '../viewport/stack-view';
import { volumeLimit } from '../viewport/volume-fill';
import { Corner, EdgeLetters, PaneMarks } from './Overlay';
import { planeCorners, progressText } from './overlay-text';

const TITLES: Record<PlaneName, string> = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' };

interface Common {
  readonly viewer: ViewerStore;
  readonly study: StudyDetail | null;
  readonly demo: boolean;
}

interface MprProps extends Common {
  readonly cache: FrameCache;
  readonly stack: Stack;
  /** The view that shows the stack otherwise: planes begin where it is, and it goes on where they end. */
  readonly from: StackView | null;
  readonly onView: (view: MprView | null) => void;
}

/** The other two planes as lines on this one, open around the point where they meet. */
function Crosshair({ mpr, state, name }: { readonly mpr: MprView; readonly state: MprState; readonly name: PlaneName }): ReactElement | null {
  const cut = mpr.cuts[name];
  const lie = state.lies[name];
  const { width, height } = lie.box;
  if (width === 0 || height === 0) return null;
  const [x, y] = onScreen(cut, lie, placeOn(cut, state.at));
  const planeOf = (axis: number): PlaneName => PLANES.find((other) => mpr.cuts[other].through.axis === axis) ?? name;
  const [upright, level] = [planeOf(cut.across.axis), planeOf(cut.down.axis)];
  const gap = 14;
  return (
    <svg className="crosshair" width={width} height={height} aria-hidden="true">
      <path className={`line-${upright}`} d={`M${x} 0V${y - gap}M${x} ${y + gap}V${height}`} />
      <path className={`line-${level}`} d={`M0 ${y}H${x - gap}M${x + gap} ${y}H${width}`} />
    </svg>
  );
}

interface PlaneProps extends Common {
  readonly mpr: MprView;
  readonly name: PlaneName;
}

function Plane({ mpr, name, viewer, study, demo }: PlaneProps): ReactElement {
  const surface = useRef<HTMLDivElement>(null);
  const state = useSignal(mpr.state);
  const cut = mpr.cuts[name];
  const progress = state.progress[name];
  const preview = progressText(progress);
  const corners = planeCorners(mpr, state, name, study);
  const number = numberOf(cut, state.at);

  useEffect(() => {
    const element = surface.current;
    if (!element) return undefined;
    const detach = mpr.attach(name, element);
    const unbind = bindPointer(element, mpr.steer(name), () => viewer.state.value.tool);
    return () => {
      unbind();
      detach();
    };
  }, [mpr, name, viewer]);

  return (
    <section
      className={`pane plane plane-${name}`}
      aria-label={`${TITLES[name]} plane`}
      data-plane={name}
      data-active={state.active === name || undefined}
      onPointerDownCapture={() => mpr.activate(name)}
      onFocusCapture={() => mpr.activate(name)}
    >
      <div ref={surface} className="surface" />
      {progress.missing === progress.touched && <div className="cover cover-waiting">{state.failed ? 'Not loaded' : 'Loading…'}</div>}
      {demo && <span className="watermark" aria-hidden="true">DEMO</span>}
      <Crosshair mpr={mpr} state={state} name={name} />
      <Corner place="tl" lines={corners.patient} />
      <Corner place="tr" lines={corners.study} />
      <div className="corner corner-bl">
        <span className="line plane-name">{TITLES[name]}</span>
        {corners.series.map((line) => (
          <span key={line} className="line" title={line}>
            {line}
          </span>
        ))}
      </div>
      <Corner place="br" lines={corners.image} warnings={corners.warnings} />
      <EdgeLetters labels={edgeLabels(cut.axes, UPRIGHT)} />
      <PaneMarks study={study} demo={demo} preview={preview} />
      {preview && <div className="preview-frame" />}
      <input
        className="slider"
        type="range"
        aria-label={`${TITLES[name]} position`}
        min={1}
        max={cut.through.count}
        value={number + 1}
        onChange={(event) => mpr.steer(name).scrollTo(Number(event.target.value) - 1)}
      />
    </section>
  );
}

/** On a small screen one plane is seen, and this chooses which. */
function PlaneSwitch({ mpr, state }: { readonly mpr: MprView; readonly state: MprState }): ReactElement {
  return (
    <div className="plane-switch" role="group" aria-label="Plane">
      {PLANES.map((name) => (
        <button key={name} type="button" className={`plane-${name}`} aria-pressed={state.active === name} onClick={() => mpr.activate(name)}>
          {TITLES[name]}
        </button>
      ))}
    </div>
  );
}

function Failed({ mpr, state }: { readonly mpr: MprView; readonly state: MprState }): ReactElement | null {
  if (!state.failed) return null;
  const { count, failure } = state.failed;
  return (
    <div className="mpr-failed" role="alert">
      <span>
        {count === 1 ? 'A slice' : `${count} slices`} could not be loaded. {failure.what} {failure.advice}
      </span>
      <button type="button" className="button" onClick={() => mpr.retry()}>
        Try again
      </button>
    </div>
  );
}

function Planes({ mpr, ...common }: Common & { readonly mpr: MprView }): ReactElement {
  const state = useSignal(mpr.state);
  // The plane in which the slices were recorded is the sharpest: it comes first, with the most room.
  const recorded = PLANES.filter((name) => mpr.cuts[name].through.axis === 2);
  const order = [...recorded, ...PLANES.filter((name) => !recorded.includes(name))];
  return (
    <div className="mpr">
      <PlaneSwitch mpr={mpr} state={state} />
      <div className="planes">
        {order.map((name) => (
          <Plane key={name} mpr={mpr} name={name} {...common} />
        ))}
      </div>
      <Failed mpr={mpr} state={state} />
    </div>
  );
}

/** Where nobody has looked yet. */
const UNSEEN: Outlook = { index: 0, voi: null, ownVoi: null, inverted: false, smooth: true };

/** The volume of a stack, or why there is none. */
function volumeHere(stack: Stack): Volume | { readonly why: string; readonly advice: string } {
  const found = volumeOf(stack);
  if ('why' in found) return { why: found.why, advice: 'Its images can be scrolled one by one.' };
  const large = tooLarge(found.volume, volumeLimit());
  return large ? { why: large, advice: 'Scroll its images one by one here, or look at its planes on a larger computer.' } : found.volume;
}

export function Mpr({ cache, stack, from, onView, ...common }: MprProps): ReactElement | null {
  const volume = useMemo(() => volumeHere(stack), [stack]);
  const [mpr, setMpr] = useState<MprView | null>(null);

  useEffect(() => {
    if ('why' in volume) return undefined;
    const same = from?.state.value.stack?.id === volume.stack.id;
    const made = new MprView(volume, cache, same ? from.outlook() : UNSEEN);
    setMpr(made);
    onView(made);
    return () => {
      const outlook = made.outlook();
      made.dispose();
      if (from?.state.value.stack?.id === volume.stack.id) from.adopt(outlook);
      onView(null);
      setMpr(null);
    };
  }, [volume, cache, from, onView]);

  if ('why' in volume) {
    const back = { label: 'Back to the images', onPress: () => common.viewer.toggleMpr() };
    return (
      <div className="mpr mpr-refused">
        <Notice title="This series cannot be shown in three planes." advice={`${volume.why} ${volume.advice}`} action={back} />
      </div>
    );
  }
  return mpr && mpr.volume === volume ? <Planes mpr={mpr} {...common} /> : null;
}
