import { useState } from "react";
import { labelSets, selectSeries } from "../api/queries";
import { singles } from "../api/singles";
import { VERSION_LABELS } from "../explore/TimelinePanel";
import { parseProfileType, type ProfileType } from "../profile/profile-type";
import { type LabelFilter, selectorOf } from "../profile/selector";
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
  const others = state.filters.filter((filter) => !VERSION_LABELS.includes(filter.name));
  const selector = selectorOf(state.service, others);
  const long = { from: Math.min(range.from, range.until - LOOK_BACK_MS), until: range.until };
  const signal = new AbortController().signal;
  const sets = await labelSets(selector, long, signal);
  const label = VERSION_LABELS.find((name) => (sets.get(name)?.size ?? 0) > 1);
  if (!label) return null;
  const series = await selectSeries(type, selector, long, [label], signal, VERSION_STEP_S);
  const seen = series.flatMap<SeenVersion>(({ labels, points }) => {
    const first = points[0];
    const last = points.at(-1);
    return first && last ? [{ value: labels.get(label) ?? "", first: first.time - VERSION_STEP_S * 1000, last: last.time }] : [];
  });
  const pair = lastTwo(seen);
  if (!pair) return null;
  const exact = (version: SeenVersion) => exactly(version, type, state.service, [...others, { name: label, operator: "=", value: version.value }], signal);
  const [old, now] = await Promise.all([exact(pair.old), exact(pair.now)]);
  return versionSides(state, range, label, { old, now });
}

/** To the profile, not to the step, when a version was there; the steps stand where single profiles are gone. */
async function exactly(version: SeenVersion, type: ProfileType, service: string, filters: LabelFilter[], signal: AbortSignal): Promise<SeenVersion> {
  const query = type.id + selectorOf(service, filters);
  const whole = { from: version.first, until: version.last };
  try {
    const [oldest, newest] = await Promise.all((["oldest", "newest"] as const).map(async (order) => (await singles(query, whole, "profiles", null, order, 1, signal)).singles[0]));
    if (!oldest || !newest) return version;
    const isFirst = oldest.time - version.first <= VERSION_STEP_S * 1000;
    return { value: version.value, first: isFirst ? oldest.time : version.first, last: newest.time + Math.max(1000, newest.duration) };
  } catch {
    return version;
  }
}
