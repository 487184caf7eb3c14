import { visible } from "../flamegraph/label";
import { hashName } from "../profile/path";
import { PLAIN } from "../profile/reshape";
import { splitSymbol } from "../profile/symbol";
import { text } from "../text";
import type { ViewState } from "../url/state";
import type { Go } from "./actions";

/** What was done to the graph, each step with a way back: nothing is hidden silently. */
export function ShapeChips({ names, state, go }: { names: string[]; state: ViewState; go: Go }) {
  const nameOfHash = (hash: string) => {
    const name = names.find((each) => hashName(each) === hash);
    return name === undefined ? text.shape.absent : visible(splitSymbol(name).short);
  };
  const without = (list: string[], hash: string) => list.filter((each) => each !== hash);
  const chips = [
    ...(state.focus ? [{ label: text.shape.focus(nameOfHash(state.focus)), undo: { focus: "" } }] : []),
    ...state.hide.map((hash) => ({ label: text.shape.hide(nameOfHash(hash)), undo: { hide: without(state.hide, hash) } })),
    ...state.merge.map((hash) => ({ label: text.shape.merge(nameOfHash(hash)), undo: { merge: without(state.merge, hash) } })),
    ...(state.group !== "function" ? [{ label: text.shape.group(text.options.groups[state.group]), undo: { group: "function" as const } }] : []),
    ...(state.collapse === "collapse" ? [{ label: text.shape.collapse, undo: { collapse: "keep" as const } }] : []),
  ];
  return (
    <div className="filters" role="group" aria-label={text.shape.title}>
      {chips.map(({ label, undo }, i) => (
        <span key={`${i} ${label}`} className="filter">
          {label}
          <button type="button" aria-label={text.shape.undo(label)} onClick={() => go({ ...undo, zoom: "" })}>
            ×
          </button>
        </span>
      ))}
      <button type="button" className="button quiet" onClick={() => go({ ...PLAIN, zoom: "" })}>
        {text.shape.clear}
      </button>
    </div>
  );
}
