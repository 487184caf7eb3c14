import { useMemo, useState } from "react";
import { type Course, courseOf } from "../api/course";
import { useQuery } from "../api/use-query";
import { type Line, Timeline } from "../explore/Timeline";
import "../explore/explore.css";
import { kindOf, type ProfileType } from "../profile/profile-type";
import { nameServices, selectorOf } from "../profile/selector";
import { formatIso, type Range, wholeSecond } from "../profile/time";
import { type Grid, gridOf, timelineOn } from "../profile/timeline";
import { text } from "../text";
import type { CompareState, Sided } from "../url/state";

/** Around both ranges so much more is shown, to choose from. */
const MARGIN = 0.15;
/** A side that has not been chosen. */
const NOTHING: Course = { series: [], points: [], step: 1, cadence: null };

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
    return useQuery(sided.service === "" && !nameServices(sided.filters) ? null : `course ${type.id} ${selector} ${range.from} ${range.until}`, (signal) => courseOf(type, selector, range, [], signal));
  };
  const left = useSide(state.before);
  const right = useSide(state.after);
  const same = selectorOf(state.before.service, state.before.filters) === selectorOf(state.after.service, state.after.filters);
  const lines = useMemo<Line[]>(() => {
    const [a, b] = [left.data ?? NOTHING, right.data ?? NOTHING];
    if (left.stale || right.stale || (a.points.length === 0 && b.points.length === 0)) return [];
    const [gridA, gridB] = [a, b].map(({ points, step, cadence }) => gridOf(points, range, step, cadence)) as [Grid, Grid];
    if (same) return [{ name: "", line: timelineOn(gridB, type, b.points, range) }];
    // Both lines have the same steps.
    const stepSeconds = Math.max(gridA.stepSeconds, gridB.stepSeconds);
    return [
      { name: text.compare.before, side: "before", line: timelineOn({ ...gridA, stepSeconds }, type, a.points, range) },
      { name: text.compare.after, side: "after", line: timelineOn({ ...gridB, stepSeconds }, type, b.points, range) },
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
