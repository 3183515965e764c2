/** Line icons on a 20 x 20 grid. They are decoration: the button around them carries the name. */
import type { ReactElement } from 'react';

const PATHS = {
  back: 'M12 4 6 10l6 6',
  search: 'M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12ZM13.5 13.5 17 17',
  info: 'M10 18a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM10 9v5M10 6.2v.1',
  window: 'M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM10 3v14M10 6h5.7M10 9h6.9M10 12h6.7M10 15h4.6',
  scroll: 'M4 5h12M4 10h12M4 15h12M10 2v1M10 17v1',
  zoom: 'M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12ZM13.5 13.5 17 17M9 6.5v5M6.5 9h5',
  pan: 'M10 2v16M2 10h16M10 2 8 4M10 2l2 2M10 18l-2-2M10 18l2-2M2 10l2-2M2 10l2 2M18 10l-2-2M18 10l-2 2',
  fit: 'M3 7V3h4M17 7V3h-4M3 13v4h4M17 13v4h-4',
  oneToOne: 'M4 7l2-1v8M14 7l2-1v8M10 8v.1M10 12v.1',
  invert: 'M10 17a7 7 0 1 0 0-14v14Z M10 3a7 7 0 0 0 0 14',
  flipH: 'M10 3v14M7 6 3 10l4 4M13 6l4 4-4 4',
  flipV: 'M3 10h14M6 7l4-4 4 4M6 13l4 4 4-4',
  rotate: 'M16 10a6 6 0 1 1-2-4.5M16 3v3.5h-3.5',
  reset: 'M4 10a6 6 0 1 0 2-4.5M4 3v3.5h3.5',
  play: 'M6 4v12l10-6Z',
  pause: 'M7 4v12M13 4v12',
  smooth: 'M3 15c4 0 4-10 7-10s3 10 7 10',
  series: 'M3 4h14v5H3ZM3 12h14v5H3Z',
  close: 'M5 5l10 10M15 5 5 15',
  one: 'M3 4h14v12H3Z',
  two: 'M3 4h14v12H3ZM10 4v12',
  four: 'M3 4h14v12H3ZM10 4v12M3 10h14',
  mpr: 'M3 4h14v12H3ZM11 4v12M11 10h6',
  meet: 'M10 2v6M10 12v6M2 10h6M12 10h6M10 10v.1',
  up: 'M6 12l4-4 4 4',
  down: 'M6 8l4 4 4-4',
  work: 'M2.5 10h3.2l2.3-5.5 4 11 2.3-5.5h3.2',
  leave: 'M8 4H4v12h4M8 10h9M14 7l3 3-3 3',
  glass: 'M10 2.5 16.5 5v4.6c0 3.9-2.6 6.6-6.5 7.9-3.9-1.3-6.5-4-6.5-7.9V5ZM10 6v4.6M10 13.4v.1',
  review: 'M6 3.5H4.5v14h11v-14H14M7 2.5h6v3H7ZM7 11l2.2 2.2L13 9.4',
  admin: 'M3 5.5h8M15 5.5h2M3 14.5h2M9 14.5h8M13 7.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM7 16.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z',
  enter: 'M12 4h4v12h-4M3 10h9M9 7l3 3-3 3',
  person: 'M10 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM4 17c.6-3.2 3-5 6-5s5.4 1.8 6 5',
  key: 'M7.5 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM10.5 11 17 17.5M14 14.5l2-2',
  screen: 'M2.5 4h15v9.5h-15ZM7 17h6M10 13.5V17',
  shield: 'M10 2.5 16 5v4.5c0 4-2.6 6.7-6 8-3.4-1.3-6-4-6-8V5Z',
  question: 'M10 18a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM7.7 7.8c.2-1.3 1.1-2 2.3-2 1.3 0 2.3.8 2.3 2 0 1.7-2.3 1.8-2.3 3.6M10 14v.1',
  building: 'M4 17.5v-14h8v14M12 8h4v9.5M2.5 17.5h15M7 7h2M7 10.5h2M7 14h2',
  plug: 'M7 2.5V7M13 2.5V7M5 7h10v3a5 5 0 0 1-10 0ZM10 15v3',
  plus: 'M10 4v12M4 10h12',
  copy: 'M7 7V3h10v10h-4M3 7h10v10H3Z',
  check: 'M4 10.5 8 14.5 16 6',
  more: 'M5 10v.1M10 10v.1M15 10v.1',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }): ReactElement {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
