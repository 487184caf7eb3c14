import { useState } from "react";
import { labelSets, selectSeries } from "../api/queries";
import { VERSION_LABELS } from "../explore/TimelinePanel";
import { parseProfileType } from "../profile/profile-type";
import { selectorOf } from "../profile/selector";
import type { Range } from "../profile/time";
import { Popover } from "../views/Popover";
import { text } from "../text";
import { visit } from "../url/navigation";
import { compareUrl, type QueryState } from "../url/state";
import { type Baseline, BASELINES, earlier, lastTwo, type SeenVersion, type Sides, versionSides } from "./baseline";

/** How far back an earlier version is looked for. */
const LOOK_BACK_MS = 30 * 86_400_000;
const VERSION_STEP_S = 300;

/** One click from a profile to what it should be compared with. */
export function CompareMenu({ state, range }: { state: QueryState; range: Range }) {
  const [problem, setProblem] = useState("");
  const open = (sides: Sides) => visit(compareUrl({ type: state.type, ...sides }));
  const choose = async (baseline: Baseline) => {
    setProblem("");
    if (baseline !== "version") return open(earlier(state, range, baseline));
    try {
      const sides = await sidesByVersion(state, range);
      if (sides) open(sides);
      else setProblem(text.compare.oneVersion);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Popover label={text.compare.open}>
      {() => (
        <div className="export-menu">
          {BASELINES.map((baseline) => (
            <button key={baseline} type="button" onClick={() => void choose(baseline)}>
              {text.compare.baselines[baseline]}
            </button>
          ))}
          {problem && (
            <p className="soft" role="status">
              {problem}
            </p>
          )}
        </div>
      )}
    </Popover>
  );
}

async function sidesByVersion(state: QueryState, range: Range): Promise<Sides | null> {
  const type = parseProfileType(state.type);
  if (!type) return null;
  const selector = selectorOf(state.service, state.filters.filter((filter) => !VERSION_LABELS.includes(filter.name)));
  const long = { from: Math.min(range.from, range.until - LOOK_BACK_MS), until: range.until };
  const signal = new AbortController().signal;
  const sets = await labelSets(selector, long, signal);
  const label = VERSION_LABELS.find((name) => (sets.get(name)?.size ?? 0) > 1);
  if (!label) return null;
  const series = await selectSeries(type, selector, long, [label], signal, VERSION_STEP_S);
  const seen = series.flatMap<SeenVersion>(({ labels, points }) => {
    const first = points[0];
    const last = points.at(-1);
    return first && last ? [{ value: labels.get(label) ?? "", first: first.time, last: last.time }] : [];
  });
  const pair = lastTwo(seen);
  return pair && versionSides(state, range, label, pair);
}
