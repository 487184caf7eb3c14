// Both graphs beside each other. What the pointer is on in one is outlined in the other.

import { useMemo, useState } from "react";
import { FlameGraph } from "../flamegraph/FlameGraph";
import { childrenOf, type Flame, nameOf, pathTo, ROOT } from "../profile/flame";
import { encodePath, resolvePath } from "../profile/path";
import { search } from "../profile/search";
import { text } from "../text";
import type { CompareState } from "../url/state";
import type { Go } from "../views/actions";

interface Props {
  before: Flame;
  after: Flame;
  sampleUnit: string;
  state: CompareState;
  go: Go;
}

export function SidesView({ before, after, sampleUnit, state, go }: Props) {
  const [hovered, setHovered] = useState<{ side: "before" | "after"; node: number } | null>(null);
  const half = (side: "before" | "after", flame: Flame, other: Flame) => (
    <Half
      flame={flame}
      label={text.compare[side]}
      sampleUnit={sampleUnit}
      state={state}
      go={go}
      linked={hovered && hovered.side !== side ? counterpart(other, hovered.node, flame) : -1}
      onHover={(node) => setHovered(node < 0 ? null : { side, node })}
    />
  );
  return (
    <div className="compare-sides">
      {half("before", before, after)}
      {half("after", after, before)}
    </div>
  );
}

interface HalfProps {
  flame: Flame;
  label: string;
  sampleUnit: string;
  state: CompareState;
  go: Go;
  linked: number;
  onHover: (node: number) => void;
}

function Half({ flame, label, sampleUnit, state, go, linked, onHover }: HalfProps) {
  const zoomed = useMemo(() => resolvePath(flame, state.zoom), [flame, state.zoom]);
  const found = useMemo(() => search(flame, state.search), [flame, state.search]);
  return (
    <div>
      <h3>{label}</h3>
      <FlameGraph
        flame={flame}
        label={label}
        sampleUnit={sampleUnit}
        search={found}
        zoomed={zoomed}
        grows={state.grows}
        linked={linked}
        onHover={onHover}
        onZoom={(node) => go({ zoom: encodePath(flame, node) })}
      />
    </div>
  );
}

/** The node of `to` that is reached by the same names, or -1. */
export function counterpart(from: Flame, node: number, to: Flame): number {
  let at: number = ROOT;
  for (const step of pathTo(from, node).slice(1)) {
    const name = nameOf(from, step);
    const next = childrenOf(to, at).find((child) => nameOf(to, child) === name);
    if (next === undefined) return -1;
    at = next;
  }
  return at;
}
