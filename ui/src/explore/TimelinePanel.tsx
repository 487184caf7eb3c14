import { useMemo } from "react";
import { courseOf } from "../api/course";
import { labelSets } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { kindOf, type ProfileType } from "../profile/profile-type";
import { SERVICE_LABEL } from "../profile/selector";
import { formatIso, formatSpan, type Range, wholeSecond } from "../profile/time";
import { firstSeen, gridOf, heaviestGroups, timelineOn } from "../profile/timeline";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import type { ExploreState } from "../url/state";
import { type Line, Timeline } from "./Timeline";
import "./explore.css";

const MOST_GROUPS = 8;
/** Labels that tell which build ran, the usual one first. */
export const VERSION_LABELS = ["version", "service_version", "service.version", "service_git_ref"];

interface Props {
  state: ExploreState;
  type: ProfileType;
  range: Range;
  selector: string;
  go: (change: Partial<ExploreState>) => void;
}

/** When: the value over time, stacked by a label, with the versions as they came up. */
export function TimelinePanel({ state, type, range, selector, go }: Props) {
  const where = `${type.id} ${selector} ${range.from} ${range.until}`;
  const sets = useQuery(`label-sets ${selector} ${range.from} ${range.until}`, (signal) => labelSets(selector, range, signal));
  const labels = [...(sets.data ?? [])].filter(([name, values]) => name !== SERVICE_LABEL && values.size > 1).map(([name]) => name);
  const version = VERSION_LABELS.find((name) => labels.includes(name)) ?? "";
  const whole = useQuery(`course ${where}`, (signal) => courseOf(type, selector, range, [], signal));
  const groups = useQuery(state.by === "" ? null : `course by ${state.by} ${where}`, (signal) => courseOf(type, selector, range, [state.by], signal));
  const versions = useQuery(version === "" ? null : `course by ${version} ${where}`, (signal) => courseOf(type, selector, range, [version], signal));

  const points = whole.data?.points ?? [];
  const grid = useMemo(() => gridOf(points, range, whole.data?.step ?? 1, whole.data?.cadence), [whole.data]);
  // An answer that is still on its way belongs to another range, so the lines wait for it.
  const lines = useMemo<Line[]>(() => {
    if (whole.stale || points.length === 0) return [];
    if (state.by === "" || !groups.data || groups.stale) return [{ name: "", line: timelineOn(grid, type, points, range) }];
    const named = groups.data.series.map((series) => ({ value: series.labels.get(state.by) ?? "", points: series.points }));
    return heaviestGroups(named, MOST_GROUPS, text.explore.others).map((group) => ({
      name: visible(group.value) || text.explore.noValue,
      line: timelineOn(grid, type, group.points, range),
    }));
  }, [whole.data, whole.stale, groups.data, groups.stale, state.by, type.id]);
  const markers = useMemo(() => {
    if (!versions.data || versions.stale) return [];
    const named = versions.data.series.map((series) => ({ value: series.labels.get(version) ?? "", points: series.points }));
    return firstSeen(named, range, versions.data.step).map(({ value, time }) => ({ time, name: visible(value) }));
  }, [versions.data, versions.stale]);

  const kind = text.kinds[kindOf(type)];
  const zoomOut = () => {
    const more = (range.until - range.from) / 2;
    const until = Math.min(Date.now(), range.until + more);
    go({ from: formatIso(wholeSecond(until - 4 * more)), until: formatIso(wholeSecond(until)) });
  };
  return (
    <section className="panel" aria-label={text.explore.timeline}>
      <div className="panel-bar">
        <h2>{text.explore.timelineOf(kind)}</h2>
        {lines.length > 0 && <span className="soft">{text.explore.perStep(formatSpan(grid.stepSeconds * 1000))}</span>}
        <span className="grow" />
        {(labels.length > 0 || state.by !== "") && (
          <select className="select" aria-label={text.explore.stackBy} value={state.by} onChange={(event) => go({ by: event.target.value })}>
            <option value="">{text.explore.notStacked}</option>
            {[...new Set([...labels, ...(state.by ? [state.by] : [])])].map((name) => (
              <option key={name} value={name}>
                {text.explore.byLabel(visible(name))}
              </option>
            ))}
          </select>
        )}
        <button type="button" className="button quiet" onClick={zoomOut}>
          {text.explore.zoomOut}
        </button>
      </div>
      {whole.error && lines.length === 0 ? (
        <Failure error={whole.error} />
      ) : lines.length > 0 ? (
        <Timeline
          lines={lines}
          markers={markers}
          type={type}
          range={range}
          label={text.explore.timelineOf(kind)}
          hint={text.explore.brushHint}
          onBrush={(chosen) => go({ from: String(chosen.from), until: String(chosen.until) })}
        />
      ) : whole.loading ? (
        <div className="timeline skeleton" />
      ) : (
        <p className="soft">{text.explore.noTimeline}</p>
      )}
    </section>
  );
}
