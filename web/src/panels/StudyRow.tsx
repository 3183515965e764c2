/** One study in the list: the whole row is a link to the viewer. */
import { memo, type MouseEvent, type ReactElement } from 'react';
import type { StudyItem } from '../client/console';
import { viewerPath } from '../client/place';
import { approach, press, release, retreat } from '../store/approach';
import { navigate } from '../store/navigation';
import { Badge, Line, Thumbnail } from '../ui/controls';
import { formatDate, formatName, formatTime, plural } from '../ui/format';
import { isPlainClick } from './Header';

export function StudyMarks({ study }: { readonly study: StudyItem }): ReactElement {
  return (
    <>
      {study.held > 0 && (
        <Badge tone="warn" title="Images that contradict the patient of this study wait for a decision; they are not shown">
          {study.held} held
        </Badge>
      )}
      {study.rejected > 0 && (
        <Badge tone="quiet" title="Images withdrawn from clinical use">
          {study.rejected} rejected
        </Badge>
      )}
      {study.outside && (
        <Badge tone="info" title={study.institution ? `From ${study.institution}` : 'From another institution'}>
          OUTSIDE
        </Badge>
      )}
      {study.patientChanged && (
        <Badge tone="warn" title="A correction or merge changed the patient data of this study">
          patient data changed
        </Badge>
      )}
    </>
  );
}

interface Props {
  readonly study: StudyItem;
  readonly tenant: string | null;
  readonly current: boolean;
}

export const StudyRow = memo(function StudyRow({ study, tenant, current }: Props): ReactElement {
  const path = viewerPath(tenant, study.study);
  const open = (event: MouseEvent): void => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    navigate(path);
  };
  const identity = [study.patientId, formatDate(study.birthDate), study.sex].filter(Boolean).join(' · ');
  return (
    <a
      className="row"
      role="listitem"
      href={path}
      data-study-uid={study.study}
      data-current={current || undefined}
      onClick={open}
      onPointerEnter={() => approach(tenant, study)}
      onPointerLeave={retreat}
      onPointerDown={(event) => {
        if (event.button === 0) press(tenant, study);
      }}
      onPointerCancel={release}
      onDragStart={release}
      onFocus={() => approach(tenant, study)}
    >
      <Thumbnail url={study.thumbnail} />
      <span className="cell cell-patient">
        <Line className="strong" text={formatName(study.patientName) || 'No name recorded'} />
        <Line className="quiet" text={identity} />
      </span>
      <span className="cell cell-study">
        <Line text={study.description || 'No description'} className={study.description ? '' : 'quiet'} />
        <Line className="quiet" text={[study.accession, study.institution].filter(Boolean).join(' · ')} />
      </span>
      <span className="cell cell-marks">
        <StudyMarks study={study} />
      </span>
      <span className="cell cell-modality">
        {study.modalities.slice(0, 3).map((modality) => (
          <Badge key={modality}>{modality}</Badge>
        ))}
        {study.modalities.length > 3 && <Badge title={study.modalities.join(', ')}>+{study.modalities.length - 3}</Badge>}
      </span>
      <span className="cell cell-count">
        <span>{plural(study.instances, 'image')}</span>
        <span className="quiet">{plural(study.series, 'series', 'series')}</span>
      </span>
      <span className="cell cell-date">
        <span>{formatDate(study.date) || '–'}</span>
        <span className="quiet">{formatTime(study.time)}</span>
      </span>
    </a>
  );
});
