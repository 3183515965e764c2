/** Small building blocks without knowledge of images. */
import { useRef, useState, type ReactElement, type ReactNode } from 'react';
import { Icon, type IconName } from './icons';

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly shortcut?: string;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
  readonly onPress: () => void;
}

/** A button with an icon; its name is in the tooltip and, on a phone, under the icon. */
export function IconButton(p: IconButtonProps): ReactElement {
  const title = p.shortcut ? `${p.label} (${p.shortcut})` : p.label;
  return (
    <button
      type="button"
      className="icon-button"
      title={title}
      aria-label={p.label}
      aria-pressed={p.pressed}
      disabled={p.disabled}
      onClick={p.onPress}
    >
      <Icon name={p.icon} />
      <span className="icon-button-label">{p.label}</span>
    </button>
  );
}

type Tone = 'quiet' | 'info' | 'good' | 'warn' | 'danger';

export function Badge(p: {
  readonly tone?: Tone;
  readonly title?: string;
  readonly children: ReactNode;
}): ReactElement {
  return (
    <span className={`badge badge-${p.tone ?? 'quiet'}`} title={p.title}>
      {p.children}
    </span>
  );
}

/** A message that takes the place of content: what happened, what to do, one way on. */
export function Notice(p: {
  readonly title: string;
  readonly advice: string;
  readonly action?: { readonly label: string; readonly onPress: () => void };
  readonly alert?: boolean;
}): ReactElement {
  return (
    <div className="notice" role={p.alert ? 'alert' : 'status'}>
      <p className="notice-title">{p.title}</p>
      <p className="notice-advice">{p.advice}</p>
      {p.action && (
        <button type="button" className="button" onClick={p.action.onPress}>
          {p.action.label}
        </button>
      )}
    </div>
  );
}

/** Text on one line that ends in an ellipsis, with all of it in the tooltip. */
export function Line({ text, className }: { readonly text: string; readonly className?: string }): ReactElement {
  return (
    <span className={`line ${className ?? ''}`} title={text || undefined}>
      {text}
    </span>
  );
}

/** A picture that gives way to a plain tile when there is none. */
export function Thumbnail({ url }: { readonly url: string | null }): ReactElement {
  return (
    <span className="thumbnail">
      {url && (
        <img
          src={url}
          alt=""
          loading="lazy"
          decoding="async"
          draggable={false}
          onError={(event) => event.currentTarget.remove()}
        />
      )}
    </span>
  );
}

/** A text that is to be taken elsewhere, and a button that copies it, or says how to where no script may. */
export function Copyable(p: { readonly text: string; readonly label: string; readonly what: string }): ReactElement {
  const field = useRef<HTMLInputElement>(null);
  const [said, setSaid] = useState('');
  const copy = (): void => {
    field.current?.select();
    // Without a secure context browsers have no clipboard for pages.
    const copied = navigator.clipboard?.writeText(p.text) ?? Promise.reject(new Error('no clipboard'));
    copied.then(
      () => setSaid('Copied'),
      () => setSaid('Press Ctrl+C'),
    );
  };
  return (
    <span className="copyable">
      <input ref={field} readOnly value={p.text} aria-label={p.label} onFocus={(event) => event.target.select()} />
      <button type="button" className="button" aria-label={`Copy ${p.what}`} onClick={copy}>
        <Icon name={said === 'Copied' ? 'check' : 'copy'} />
        <span role="status">{said || 'Copy'}</span>
      </button>
    </span>
  );
}
