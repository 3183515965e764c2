/** The viewer page: patient line, tools, series strip, viewports. */
import { useCallback, useEffect, useLayoutEffect, useMemo, useState, type ReactElement } from 'react';
import { runKey } from '../actions/viewer-actions';
import type { StudyDetail } from '../client/console';
import { breakGlassPath, listPath } from '../client/place';
import { glass, type Closing } from '../store/glass';
import { navigate } from '../store/navigation';
import { useSignal } from '../store/signal';
import { PANES, ViewerStore } from '../store/viewer';
import { Badge, IconButton, Line, Notice } from '../ui/controls';
import { formatDate, formatName } from '../ui/format';
import { FrameCache } from '../viewport/frame-cache';
import type { MprView } from '../viewport/mpr-view';
import type { StackView } from '../viewport/stack-view';
import type { Steered } from '../viewport/steered';
import { About } from './About';
import { Mpr } from './Mpr';
import { Pane } from './Pane';
import { SeriesStrip } from './SeriesStrip';
import { StudyMarks } from './StudyRow';
import { Toolbar } from './Toolbar';

interface Props {
  readonly tenant: string | null;
  readonly study: string;
  readonly demo: boolean;
  /** The emergency access that ended while one was here. */
  readonly over: Closing | null;
}

function Identity({ study, demo }: { readonly study: StudyDetail | null; readonly demo: boolean }): ReactElement {
  if (!study) return <div className="identity" />;
  const who = [study.patientId, formatDate(study.birthDate), study.sex].filter(Boolean).join(' · ');
  const what = [study.description, formatDate(study.date), study.modalities.join(' ')].filter(Boolean).join(' · ');
  return (
    <div className="identity">
      <span className="identity-text">
        <Line className="strong" text={formatName(study.patientName) || 'No name recorded'} />
        <Line className="quiet" text={who} />
        <Line className="quiet identity-study" text={what} />
      </span>
      <span className="identity-marks">
        {demo && <Badge tone="info">DEMO</Badge>}
        <StudyMarks study={study} />
      </span>
    </div>
  );
}

function useViewerKeys(view: Steered | null, viewer: ViewerStore): void {
  // Before it is painted: a key pressed at what is seen for the first time must not go to what was there before.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (runKey(event, view, viewer)) event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [view, viewer]);
}

/** A finger scrolls first; a mouse, which has a wheel for that, sets the window first. */
const firstTool = (): 'scroll' | 'window' => (matchMedia('(pointer: coarse)').matches ? 'scroll' : 'window');

export function Viewer({ tenant, study: uid, demo, over }: Props): ReactElement {
  const viewer = useMemo(() => new ViewerStore(tenant, uid, firstTool()), [tenant, uid]);
  const [cache, setCache] = useState<FrameCache | null>(null);
  const [views, setViews] = useState<readonly (StackView | null)[]>([]);
  const [sheet, setSheet] = useState(false);
  const [mprView, setMprView] = useState<MprView | null>(null);
  const { study, failure, layout, active, series, hung, mpr } = useSignal(viewer.state);
  const mayBreak = useSignal(glass).standing?.mayBreak === true;
  const nothing = study !== null && [...series.values()].every((state) => state.kind === 'no-picture');

  useEffect(() => {
    const own = new FrameCache(tenant, viewer.settledOf);
    setCache(own);
    // A door that does not know yet would still show it.
    if (over?.everywhere !== false) void viewer.open();
    return () => {
      viewer.dispose();
      own.dispose();
    };
  }, [viewer, tenant, over]);

  useEffect(() => {
    // The window title stays without patient data: it ends up in histories and screen shares.
    document.title = 'Viewer · Lightwell';
  }, []);

  const onView = useCallback((index: number, view: StackView | null) => {
    setViews((before) => Array.from({ length: 4 }, (_, i) => (i === index ? view : (before[i] ?? null))));
  }, []);
  const view = views[active] ?? null;
  const stack = viewer.stack(hung[active] ?? null);
  const steered = useMemo(() => (mpr ? (mprView?.steer() ?? null) : view), [mpr, mprView, view]);
  useViewerKeys(steered, viewer);

  // Behind the planes the stacks fetch nothing.
  useEffect(() => {
    if (!mpr) return undefined;
    for (const one of views) one?.rest();
    return () => {
      for (const one of views) one?.resume();
    };
  }, [mpr, views]);

  const again = { label: 'Try again', onPress: () => void viewer.open() };
  // Whoever may break the glass is told of it where a study is shut to them, or is not there: both look the same.
  const emergency = { label: 'Emergency access…', onPress: () => navigate(breakGlassPath(tenant)) };
  const shut = failure?.status === 403 || failure?.status === 404;
  const ended = over !== null && (!over.everywhere || shut);

  return (
    <div className="viewer">
      <header className="viewer-header">
        <IconButton icon="back" label="Studies" onPress={() => navigate(listPath(tenant))} />
        <Identity study={study} demo={demo} />
        <About />
      </header>
      <Toolbar viewer={viewer} view={view} mpr={mpr ? mprView : null} />
      <div className="sheet-handle">
        <IconButton icon="series" label="Series" pressed={sheet} onPress={() => setSheet(!sheet)} />
      </div>
      <aside className="series-panel" data-open={sheet || undefined}>
        <SeriesStrip viewer={viewer} tenant={tenant} onChoose={() => setSheet(false)} />
      </aside>
      <main className={`panes panes-${layout}`} data-behind={mpr || undefined}>
        {ended ? (
          <Notice
            alert
            title="Your emergency access ended."
            advice="This patient is shown no longer. If the emergency goes on, break the glass again."
            {...(mayBreak && { action: emergency })}
          />
        ) : failure ? (
          <Notice alert title={failure.what} advice={failure.advice} action={shut && mayBreak ? emergency : again} />
        ) : nothing ? (
          <Notice title="No pictures in this study." advice="Its objects are listed in the series panel; this viewer shows images only." />
        ) : (
          cache &&
          Array.from({ length: PANES[layout] }, (_, i) => (
            <Pane key={i} index={i} viewer={viewer} cache={cache} study={study} demo={demo} onView={onView} />
          ))
        )}
      </main>
      {mpr && cache && stack && (
        <Mpr viewer={viewer} cache={cache} stack={stack} from={view} study={study} demo={demo} onView={setMprView} />
      )}
      <footer className="viewer-footer">Not a cleared medical device</footer>
    </div>
  );
}
