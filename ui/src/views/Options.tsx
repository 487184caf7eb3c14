import { COLOR_MODES, type ColorMode } from "../flamegraph/coloring";
import { GROUPS, type Group } from "../profile/reshape";
import { text } from "../text";
import type { ViewState } from "../url/state";
import type { Go } from "./actions";
import { Popover } from "./Popover";

interface Props {
  state: ViewState;
  go: Go;
  modes: ColorMode[];
}

/** How the graph is drawn: colours, direction, grouping, recursion. */
export function Options({ state, go, modes }: Props) {
  const colors = modes.includes(state.colors) ? state.colors : modes[0]!;
  return (
    <Popover label={text.options.open}>
      {() => (
        <div className="options">
          <label>
            {text.options.colors}
            <select className="select" value={colors} onChange={(event) => go({ colors: event.target.value as ColorMode })}>
              {COLOR_MODES.filter((mode) => modes.includes(mode)).map((mode) => (
                <option key={mode} value={mode}>
                  {text.options.colorModes[mode]}
                </option>
              ))}
            </select>
          </label>
          <label>
            {text.options.group}
            <select className="select" value={state.group} onChange={(event) => go({ group: event.target.value as Group, zoom: "" })}>
              {GROUPS.map((group) => (
                <option key={group} value={group}>
                  {text.options.groups[group]}
                </option>
              ))}
            </select>
          </label>
          <label className="options-check">
            <input type="checkbox" checked={state.grows === "flame"} onChange={(event) => go({ grows: event.target.checked ? "flame" : "icicle" })} />
            {text.options.rootBelow}
          </label>
          <label className="options-check">
            <input
              type="checkbox"
              checked={state.collapse === "collapse"}
              onChange={(event) => go({ collapse: event.target.checked ? "collapse" : "keep", zoom: "" })}
            />
            {text.options.collapse}
          </label>
        </div>
      )}
    </Popover>
  );
}
