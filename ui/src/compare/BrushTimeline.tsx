import { useMemo, useState } from "react";
import { selectSeries } from "../api/queries";
import { useQuery } from "../api/use-query";
import { type Line, Timeline } from "../explore/Timeline";
import "../explore/explore.css";
import { kindOf, type ProfileType } from "../profile/profile-type";
import { selectorOf } from "../profile/selector";
import { formatIso, type Range, wholeSecond } from "../profile/time";
import { fineStep, gridOf, timelineOn } from "../profile/timeline";
import { text } from "../text";
import type { CompareState, Sided } from "../url/state";

/** Around both ranges so much more is shown, to choose from. */
const MARGIN = 0.15;

interface Props {
  state: CompareState;
  type: ProfileType;
  before: Range;
  after: Range;
  go: (change: Partial<CompareState>) => void;
}

/** Both ranges on one timeline; dragging moves the one that is being chosen. */
export function BrushTimeline({ state, type, before, after, go }: Props) {
  const [side, setSide] = useState<"before" | "after">("before");
  const range = useMemo(() => {
    const from = Math.min(before.from, after.from);
    const until = Math.max(before.until, after.until);
    const margin = Math.round((until - from) * MARGIN);
    return { from: from - margin, until: Math.min(until + margin, Math.max(until, Date.now())) };
  }, [before.from, before.until, after.from, after.until]);
  const useSide = (sided: Sided) => {
    const selector = selectorOf(sided.service, sided.filters);
    return useQuery(sided.service === "" ? null : `series ${type.id} ${selector} ${range.from} ${range.until}`, (signal) => selectSeries(type, selector, range, [], signal));
  };
  const left = useSide(state.before);
  const right = useSide(state.after);
  const same = selectorOf(state.before.service, state.before.filters) === selectorOf(state.after.service, state.after.filters);
  const lines = useMemo<Line[]>(() => {
    const a = left.data?.[0]?.points ?? [];
    const b = right.data?.[0]?.points ?? [];
    if (left.stale || right.stale || (a.length === 0 && b.length === 0)) return [];
    const grid = gridOf(a.length > b.length ? a : b, range, fineStep(range));
    if (same) return [{ name: "", line: timelineOn(grid, type, b, range) }];
    return [
      { name: text.compare.before, side: "before", line: timelineOn(grid, type, a, range) },
      { name: text.compare.after, side: "after", line: timelineOn(grid, type, b, range) },
    ];
  }, [left.data, right.data, left.stale, right.stale, same]);
  if (lines.length === 0) return left.loading || right.loading ? <div className="timeline skeleton" /> : null;

  const choose = (chosen: Range) => {
    const fixed = { from: formatIso(wholeSecond(chosen.from)), until: formatIso(wholeSecond(chosen.until + 999)) };
    go({ [side]: { ...state[side], ...fixed }, zoom: "" });
    setSide(side === "before" ? "after" : "before");
  };
  return (
    <section className="panel" aria-label={text.explore.timeline}>
      <div className="panel-bar">
        <h2>{text.explore.timelineOf(text.kinds[kindOf(type)])}</h2>
        <span className="grow" />
        <span className="soft">{text.compare.drag}</span>
        <div className="group" role="group" aria-label={text.compare.drag}>
          {(["before", "after"] as const).map((name) => (
            <button key={name} type="button" className={`button brush-${name}`} aria-pressed={side === name} onClick={() => setSide(name)}>
              {text.compare[name]}
            </button>
          ))}
        </div>
      </div>
      <Timeline
        lines={lines}
        together="beside"
        brushes={[
          { range: before, name: text.compare.before, side: "before" },
          { range: after, name: text.compare.after, side: "after" },
        ]}
        type={type}
        range={range}
        label={text.explore.timelineOf(text.kinds[kindOf(type)])}
        onBrush={choose}
      />
    </section>
  );
}
