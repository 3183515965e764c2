/** One viewport with everything that is written over the image. */
import { useEffect, useRef, useState, type ReactElement } from 'react';
import type { StudyDetail } from '../client/console';
import { RequestFailure } from '../client/http';
import { edgeLabels } from '../geometry/orientation';
import { useSignal } from '../store/signal';
import type { ViewerStore } from '../store/viewer';
import { bindPointer } from '../tools/pointer';
import { Notice } from '../ui/controls';
import type { FrameCache } from '../viewport/frame-cache';
import { StackView, type ViewState } from '../viewport/stack-view';
import { Corner, EdgeLetters, PaneMarks } from './Overlay';
import { cornersOf } from './overlay-text';
import { DRAG_TYPE } from './SeriesStrip';

function Edges({ state }: { readonly state: ViewState }): ReactElement | null {
  if (!state.shown) return null;
  const { frame } = state.shown.image;
  return <EdgeLetters labels={edgeLabels(frame.axes ?? frame.sides, state.placement)} />;
}

/** Which part of its size a preview has; a lossy form of the whole has all of it. */
const previewText = (level: number): string => (level > 0 ? `PREVIEW 1/${2 ** level}` : 'PREVIEW');

function Cover({ state, view }: { readonly state: ViewState; readonly view: StackView }): ReactElement | null {
  const { failure, shown, stack, target } = state;
  if (failure) {
    const total = stack && stack.frames.length > 1 ? `${target + 1}/${stack.frames.length}: ` : '';
    return (
      <div className="cover">
        <Notice alert title={`${total}${failure.what}`} advice={failure.advice} action={{ label: 'Try again', onPress: () => view.retry() }} />
      </div>
    );
  }
  if (!shown) return <div className="cover cover-waiting">{stack ? 'Loading…' : ''}</div>;
  return null;
}

function Slider({ state, view }: { readonly state: ViewState; readonly view: StackView }): ReactElement | null {
  const count = state.stack?.frames.length ?? 0;
  if (count < 2) return null;
  return (
    <input
      className="slider"
      type="range"
      aria-label="Image"
      min={1}
      max={count}
      value={state.target + 1}
      onChange={(event) => view.scrollTo(Number(event.target.value) - 1)}
    />
  );
}

function ViewSurface(p: PaneProps & { readonly view: StackView }): ReactElement {
  const state = useSignal(p.view.state);
  const corners = cornersOf(state, p.study);
  const preview = state.shown && !state.shown.image.final ? previewText(state.shown.image.level) : '';
  const pending = state.shown && state.shown.index !== state.target && !state.playing;
  return (
    <>
      <Cover state={state} view={p.view} />
      {p.demo && state.shown && <span className="watermark" aria-hidden="true">DEMO</span>}
      {corners && (
        <>
          <Corner place="tl" lines={corners.patient} />
          <Corner place="tr" lines={corners.study} />
          <Corner place="bl" lines={corners.series} />
          <Corner place="br" lines={corners.image} warnings={corners.warnings} />
        </>
      )}
      <Edges state={state} />
      <PaneMarks study={p.study} demo={p.demo} preview={preview} />
      {preview && <div className="preview-frame" />}
      {pending && <span className="pending">loading {state.target + 1}…</span>}
      {state.playing && <span className="pending">{state.dropped} dropped</span>}
      <Slider state={state} view={p.view} />
    </>
  );
}

export interface PaneProps {
  readonly index: number;
  readonly viewer: ViewerStore;
  readonly cache: FrameCache;
  readonly study: StudyDetail | null;
  readonly demo: boolean;
  readonly onView: (index: number, view: StackView | null) => void;
}

type Opened = { readonly view: StackView } | { readonly failure: RequestFailure } | null;

function openView(element: HTMLDivElement, index: number, cache: FrameCache): Opened {
  try {
    return { view: new StackView(element, `pane-${index}`, cache) };
  } catch (error) {
    if (error instanceof RequestFailure) return { failure: error };
    return { failure: new RequestFailure('The viewport could not start.', 'Reload the page.') };
  }
}

export function Pane(p: PaneProps): ReactElement {
  const surface = useRef<HTMLDivElement>(null);
  const [opened, setOpened] = useState<Opened>(null);
  const { hung, active, series } = useSignal(p.viewer.state);
  const stackId = hung[p.index] ?? null;
  const { index, viewer, cache, onView } = p;

  useEffect(() => {
    const element = surface.current;
    if (!element) return undefined;
    const made = openView(element, index, cache);
    setOpened(made);
    if (!made || !('view' in made)) return undefined;
    const unbind = bindPointer(element, made.view, () => viewer.state.value.tool);
    onView(index, made.view);
    return () => {
      onView(index, null);
      unbind();
      made.view.dispose();
    };
  }, [index, viewer, cache, onView]);

  const view = opened && 'view' in opened ? opened.view : null;
  useEffect(() => {
    const stack = viewer.stack(stackId);
    if (view && stack && view.state.value.stack?.id !== stack.id) view.show(stack);
  }, [view, stackId, viewer, series]);

  return (
    <section
      className="pane"
      data-pane={index}
      data-active={active === index || undefined}
      onPointerDownCapture={() => viewer.activate(index)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        const id = event.dataTransfer.getData(DRAG_TYPE);
        if (id) viewer.hang(id, index);
      }}
    >
      <div ref={surface} className="surface" />
      {view && <ViewSurface {...p} view={view} />}
      {opened && 'failure' in opened && (
        <div className="cover">
          <Notice alert title={opened.failure.what} advice={opened.failure.advice} />
        </div>
      )}
    </section>
  );
}
