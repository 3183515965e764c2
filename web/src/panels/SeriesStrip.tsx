/** The series of a study as thumbnails, one for each stack that can be scrolled. */
import type { ReactElement } from 'react';
import type { SeriesItem } from '../client/console';
import { dicomwebRoot } from '../client/place';
import type { Stack } from '../dicom-model/stacks';
import { useSignal } from '../store/signal';
import { PANES, type SeriesState, type ViewerStore } from '../store/viewer';
import { Line, Thumbnail } from '../ui/controls';
import { plural } from '../ui/format';

export const DRAG_TYPE = 'application/x-lightwell-stack';

interface EntryProps {
  readonly item: SeriesItem;
  readonly tenant: string | null;
  readonly viewer: ViewerStore;
  readonly onChoose: () => void;
}

function thumbnailOf({ item, tenant, viewer }: EntryProps): string | null {
  const study = viewer.state.value.study?.study;
  if (item.thumbnail || !study) return item.thumbnail;
  return `${dicomwebRoot(tenant)}/studies/${study}/series/${item.series}/thumbnail?viewport=128,128`;
}

const title = (item: SeriesItem): string => item.description || item.bodyPart || 'No description';

function StackEntry(p: EntryProps & { readonly stack: Stack; readonly hungIn: number | null }): ReactElement {
  const { item, stack, hungIn, viewer } = p;
  const number = item.number === null ? '' : `#${item.number}`;
  const facts = [number, item.modality, stack.cine ? plural(stack.frames.length, 'frame') : plural(stack.frames.length, 'image')];
  const choose = (): void => {
    viewer.hang(stack.id);
    p.onChoose();
  };
  return (
    <button
      type="button"
      className="series"
      data-hung={hungIn !== null || undefined}
      draggable
      onDragStart={(event) => event.dataTransfer.setData(DRAG_TYPE, stack.id)}
      onClick={choose}
    >
      <Thumbnail url={thumbnailOf(p)} />
      <span className="series-text">
        <Line className="strong" text={title(item)} />
        {stack.label && <Line className="series-label" text={stack.label} />}
        <Line className="quiet" text={facts.filter(Boolean).join(' · ')} />
      </span>
    </button>
  );
}

function PlainEntry({ item, state, viewer }: EntryProps & { readonly state: SeriesState }): ReactElement {
  const text = state.kind === 'waiting' ? 'Loading…' : state.kind === 'no-picture' ? state.why : '';
  return (
    <div className="series series-plain">
      <span className="thumbnail thumbnail-text">{item.modality}</span>
      <span className="series-text">
        <Line className="strong" text={title(item)} />
        {state.kind === 'failed' ? (
          <button type="button" className="link" title={state.failure.message} onClick={() => void viewer.retrySeries(item.series)}>
            Not loaded: try again
          </button>
        ) : (
          <span className="quiet">{text}</span>
        )}
      </span>
    </div>
  );
}

export function SeriesStrip(p: { readonly viewer: ViewerStore; readonly tenant: string | null; readonly onChoose: () => void }): ReactElement {
  const { study, series, hung, layout } = useSignal(p.viewer.state);
  const shown = hung.slice(0, PANES[layout]);
  return (
    <nav className="strip" aria-label="Series">
      {(study?.seriesItems ?? []).map((item) => {
        const state = series.get(item.series) ?? { kind: 'waiting' };
        const common = { item, tenant: p.tenant, viewer: p.viewer, onChoose: p.onChoose };
        if (state.kind !== 'ready') return <PlainEntry key={item.series} {...common} state={state} />;
        return state.stacks.map((stack) => {
          const at = shown.indexOf(stack.id);
          return <StackEntry key={stack.id} {...common} stack={stack} hungIn={at < 0 ? null : at} />;
        });
      })}
      {study && study.seriesItems.length === 0 && <p className="quiet strip-empty">This study has no series.</p>}
    </nav>
  );
}
