/** Tools and actions for the active viewport. */
import type { ReactElement } from 'react';
import { ACTIONS, applyPreset, type ActionName } from '../actions/viewer-actions';
import type { Frame } from '../dicom-model/instance';
import { CT_PRESETS } from '../geometry/window';
import { useSignal } from '../store/signal';
import type { Layout, Tool, ViewerStore } from '../store/viewer';
import { IconButton } from '../ui/controls';
import type { IconName } from '../ui/icons';
import type { MprView } from '../viewport/mpr-view';
import type { StackView, ViewState } from '../viewport/stack-view';
import type { Steered } from '../viewport/steered';

interface ToolButton {
  readonly tool: Tool;
  readonly icon: IconName;
}

const TOOLS: readonly ToolButton[] = [
  { tool: 'window', icon: 'window' },
  { tool: 'scroll', icon: 'scroll' },
  { tool: 'zoom', icon: 'zoom' },
  { tool: 'pan', icon: 'pan' },
];

/** Only where planes meet. */
const MEET: ToolButton = { tool: 'meet', icon: 'meet' };

const BUTTONS: readonly { action: ActionName; icon: IconName }[] = [
  { action: 'fit', icon: 'fit' },
  { action: 'oneToOne', icon: 'oneToOne' },
  { action: 'invert', icon: 'invert' },
  { action: 'flipHorizontal', icon: 'flipH' },
  { action: 'flipVertical', icon: 'flipV' },
  { action: 'rotate', icon: 'rotate' },
  { action: 'smooth', icon: 'smooth' },
  { action: 'reset', icon: 'reset' },
];

/** Planes lie as the patient does: they are neither turned nor mirrored. */
const PLANE_BUTTONS: readonly ActionName[] = ['fit', 'oneToOne', 'invert', 'smooth', 'reset'];

const LAYOUTS: readonly { layout: Layout; icon: IconName }[] = [
  { layout: '1x1', icon: 'one' },
  { layout: '1x2', icon: 'two' },
  { layout: '2x2', icon: 'four' },
];

const keyName = (name: ActionName): string => {
  const [key = ''] = ACTIONS[name].keys;
  return key === ' ' ? 'Space' : key.toUpperCase();
};

interface WindowChoiceProps {
  readonly view: Steered;
  /** False for colours, which are not windowed. */
  readonly grey: boolean;
  readonly recorded: Frame['windows'];
}

/** Windows recorded in the image, then CT presets when the values are Hounsfield units. */
function WindowChoice({ view, grey, recorded }: WindowChoiceProps): ReactElement {
  const hounsfield = grey && view.unit === 'HU';
  const choose = (value: string): void => {
    const [kind, index] = value.split(':');
    const window = recorded[Number(index)];
    if (kind === 'default') view.resetWindow();
    else if (kind === 'recorded' && window) view.setWindow(window);
    else if (kind === 'preset') applyPreset(view, Number(index));
  };
  return (
    <select
      className="window-choice"
      aria-label="Window"
      title={grey ? 'Window' : 'Colour images are not windowed'}
      disabled={!grey}
      value=""
      onChange={(event) => choose(event.target.value)}
    >
      <option value="" disabled hidden>
        Window
      </option>
      <option value="default:0">Default</option>
      {recorded.map((window, i) => (
        <option key={`${window.name}${i}`} value={`recorded:${i}`}>
          {window.name} ({window.width}/{window.centre})
        </option>
      ))}
      {hounsfield &&
        CT_PRESETS.map((preset, i) => (
          <option key={preset.name} value={`preset:${i}`}>
            {preset.key} {preset.name} ({preset.width}/{preset.centre})
          </option>
        ))}
    </select>
  );
}

function ActionButtons({ view, state, viewer }: { view: StackView; state: ViewState; viewer: ViewerStore }): ReactElement {
  const pressed: Partial<Record<ActionName, boolean>> = {
    invert: state.inverted,
    smooth: state.smooth,
  };
  const pixels = state.shown?.image.pixels;
  const recorded = pixels?.kind === 'grey' && !pixels.scaled ? (state.shown?.image.frame.windows ?? []) : [];
  const many = (state.stack?.frames.length ?? 0) > 1;
  const play = (
    <IconButton
      icon={state.playing ? 'pause' : 'play'}
      label={state.playing ? 'Stop' : 'Play'}
      shortcut={keyName('cine')}
      pressed={state.playing}
      onPress={() => view.togglePlay()}
    />
  );
  return (
    <>
      {many && play}
      <WindowChoice view={view} grey={pixels?.kind === 'grey'} recorded={recorded} />
      {BUTTONS.map(({ action, icon }) => (
        <IconButton
          key={action}
          icon={icon}
          label={ACTIONS[action].name}
          shortcut={keyName(action)}
          pressed={pressed[action]}
          disabled={!state.shown}
          onPress={() => ACTIONS[action].run(view, viewer)}
        />
      ))}
    </>
  );
}

function PlaneActions({ mpr, viewer }: { readonly mpr: MprView; readonly viewer: ViewerStore }): ReactElement {
  const state = useSignal(mpr.state);
  const view = mpr.steer();
  const { windows, instance } = mpr.frame();
  const scaled = instance.suv?.ok && instance.suv.factor !== 1;
  const pressed: Partial<Record<ActionName, boolean>> = { invert: state.inverted, smooth: state.smooth };
  return (
    <>
      <WindowChoice view={view} grey recorded={scaled ? [] : windows} />
      {BUTTONS.filter(({ action }) => PLANE_BUTTONS.includes(action)).map(({ action, icon }) => (
        <IconButton
          key={action}
          icon={icon}
          label={ACTIONS[action].name}
          shortcut={keyName(action)}
          pressed={pressed[action]}
          onPress={() => ACTIONS[action].run(view, viewer)}
        />
      ))}
    </>
  );
}

interface ToolbarProps {
  readonly viewer: ViewerStore;
  readonly view: StackView | null;
  /** The planes that are shown in place of the stack. */
  readonly mpr: MprView | null;
}

export function Toolbar({ viewer, view, mpr: planes }: ToolbarProps): ReactElement {
  const { tool, layout, mpr, hung, active } = useSignal(viewer.state);
  return (
    <div className="toolbar" role="toolbar" aria-label="Viewer tools">
      <div className="group">
        {(mpr ? [MEET, ...TOOLS] : TOOLS).map((t) => (
          <IconButton
            key={t.tool}
            icon={t.icon}
            label={ACTIONS[t.tool].name}
            shortcut={keyName(t.tool)}
            pressed={tool === t.tool}
            onPress={() => viewer.setTool(t.tool)}
          />
        ))}
      </div>
      <div className="group">
        {planes ? <PlaneActions mpr={planes} viewer={viewer} /> : view && !mpr && <LiveActions view={view} viewer={viewer} />}
      </div>
      <div className="group">
        {LAYOUTS.map((l) => (
          <IconButton key={l.layout} icon={l.icon} label={l.layout} pressed={!mpr && layout === l.layout} onPress={() => viewer.setLayout(l.layout)} />
        ))}
        <IconButton
          icon="mpr"
          label="MPR"
          shortcut={keyName('mpr')}
          pressed={mpr}
          disabled={(hung[active] ?? null) === null}
          onPress={() => viewer.toggleMpr()}
        />
      </div>
    </div>
  );
}

function LiveActions({ view, viewer }: { view: StackView; viewer: ViewerStore }): ReactElement {
  return <ActionButtons view={view} state={useSignal(view.state)} viewer={viewer} />;
}
