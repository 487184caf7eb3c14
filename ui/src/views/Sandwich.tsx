// Callers above, callees below: everything that leads to one function, and everything it leads to.

import { useMemo, useState } from "react";
import type { ColorMode } from "../flamegraph/coloring";
import { FlameGraph } from "../flamegraph/FlameGraph";
import { visible } from "../flamegraph/label";
import { type Flame, nameOf, ROOT, shareOf } from "../profile/flame";
import { hashName } from "../profile/path";
import type { Modules } from "../profile/pprof";
import { calleesOf, callersOf } from "../profile/reshape";
import type { SearchResult } from "../profile/search";
import { splitSymbol } from "../profile/symbol";
import { mostSelf } from "../profile/table";
import { formatShare, formatValue } from "../profile/units";
import { text } from "../text";
import type { ViewState } from "../url/state";
import { type Go, type Links, nameActions } from "./actions";

interface Props {
  flame: Flame;
  sampleUnit: string;
  modules: Modules | undefined;
  search: SearchResult | null;
  selected: number;
  colors: ColorMode;
  state: ViewState;
  go: Go;
  links: Links;
}

export function Sandwich({ flame, sampleUnit, modules, search, selected, colors, state, go, links }: Props) {
  // Without a selection, the function that does the most itself is the one to ask about.
  const heaviest = useMemo(() => (selected >= 0 ? -1 : mostSelf(flame)), [flame, selected >= 0]);
  const name = selected >= 0 ? selected : heaviest;
  const callers = useMemo(() => (name < 0 ? null : callersOf(flame, name)), [flame, name]);
  const callees = useMemo(() => (name < 0 ? null : calleesOf(flame, name)), [flame, name]);
  if (!callers || !callees) return <p className="soft">{text.sandwich.choose}</p>;
  const module = modules?.get(flame.names[name]!);
  const own = visible(splitSymbol(flame.names[name]!).short);
  const part = (graph: Flame, grows: "flame" | "icicle", label: string) => (
    <Half key={`${grows} ${name}`} {...{ graph, grows, label, sampleUnit, modules, search, colors, state, go, links }} />
  );
  return (
    <div className="sandwich">
      <h3>{text.sandwich.callers(own)}</h3>
      {part(callers, "flame", text.sandwich.callers(own))}
      <p className="sandwich-middle">
        <strong className="mono">{own}</strong>
        {module !== undefined && <span className="soft mono">{visible(module)}</span>}
        <span>
          {text.flame.total} {formatValue(callees.total[ROOT]!, sampleUnit)}{" "}
          <span className="soft">{formatShare(shareOf(flame, callees.total[ROOT]!))}</span>
        </span>
        <span>
          {text.flame.self} {formatValue(selfOf(flame, name), sampleUnit)}{" "}
          <span className="soft">{formatShare(shareOf(flame, selfOf(flame, name)))}</span>
        </span>
      </p>
      {part(callees, "icicle", text.sandwich.callees(own))}
      <h3>{text.sandwich.callees(own)}</h3>
    </div>
  );
}

interface HalfProps extends Omit<Props, "flame" | "selected"> {
  graph: Flame;
  grows: "flame" | "icicle";
  label: string;
}

/** A click on another function goes on from there; a second click on the root zooms out again. */
function Half({ graph, grows, label, sampleUnit, modules, search, colors, state, go, links }: HalfProps) {
  const [zoomed, setZoomed] = useState<number>(ROOT);
  const found = search && search.names.length <= graph.names.length ? search : null;
  return (
    <FlameGraph
      flame={graph}
      label={label}
      sampleUnit={sampleUnit}
      modules={modules}
      search={found}
      zoomed={zoomed < graph.name.length ? zoomed : ROOT}
      colors={colors}
      grows={grows}
      chrome="compact"
      height="clamp(160px, 30vh, 360px)"
      onZoom={setZoomed}
      actions={(node) =>
        graph.folded[node]
          ? []
          : [
              { label: text.actions.selectThis, run: () => go({ fn: hashName(nameOf(graph, node)) }) },
              ...nameActions(nameOf(graph, node), state, go, links),
            ]
      }
    />
  );
}

function selfOf(flame: Flame, name: number): number {
  let sum = 0;
  for (let node = 1; node < flame.name.length; node++) if (flame.name[node] === name) sum += flame.self[node]!;
  return sum;
}

