// What a profile is compared with when nobody says: the same time yesterday or last week, the time just
// before, or the version before.

import type { FunctionState, QueryState, Sided } from "../url/state";
import { formatIso, type Range, wholeSecond } from "../profile/time";

export const BASELINES = ["before", "yesterday", "lastWeek", "version"] as const;
export type Baseline = (typeof BASELINES)[number];

const DAY_MS = 86_400_000;

export interface Sides {
  before: Sided;
  after: Sided;
}

export function earlier(state: QueryState, range: Range, baseline: Exclude<Baseline, "version">): Sides {
  const back = baseline === "yesterday" ? DAY_MS : baseline === "lastWeek" ? 7 * DAY_MS : range.until - range.from;
  const side = { service: state.service, filters: state.filters };
  return {
    before: { ...side, ...fixed({ from: range.from - back, until: range.until - back }) },
    after: { ...side, ...fixed(range) },
  };
}

/** A comparison is a finding: its times stand still, whoever opens the link and when. */
function fixed(range: Range): { from: string; until: string } {
  return { from: formatIso(wholeSecond(range.from)), until: formatIso(wholeSecond(range.until)) };
}

/** A version and the time that was measured of it, milliseconds. */
export interface SeenVersion {
  value: string;
  first: number;
  last: number;
}

/** The newest version and the one before it, by when each was first seen; null when there is only one. */
export function lastTwo(versions: SeenVersion[]): { old: SeenVersion; now: SeenVersion } | null {
  const ordered = versions.filter(({ value }) => value !== "").sort((a, b) => b.first - a.first || b.last - a.last || (a.value < b.value ? 1 : -1));
  const [now, old] = ordered;
  return now && old ? { old, now } : null;
}

/** Each version over its own last stretch of time, as long as what is looked at, or as long as it was there. */
export function versionSides(state: QueryState, range: Range, label: string, pair: { old: SeenVersion; now: SeenVersion }): Sides {
  const length = range.until - range.from;
  const others = state.filters.filter((filter) => filter.name !== label);
  const side = ({ value, first, last }: SeenVersion): Sided => ({
    service: state.service,
    filters: [...others, { name: label, operator: "=", value }],
    ...fixed({ from: Math.max(first, last - length), until: last }),
  });
  return { before: side(pair.old), after: side(pair.now) };
}

/** Where the history of a function tells the two sides apart: over both times, by the label that they differ in. */
export function historyOf({ before, after }: Sides, times: { before: Range; after: Range }): Pick<FunctionState, "service" | "filters" | "from" | "until" | "by"> {
  const same = before.service === after.service;
  const of = (name: string) => before.filters.find((filter) => filter.name === name);
  const shared = after.filters.filter((filter) => {
    const other = of(filter.name);
    return !same || (other?.operator === filter.operator && other.value === filter.value);
  });
  const differs = same ? after.filters.find((filter) => filter.operator === "=" && of(filter.name)?.operator === "=" && !shared.includes(filter)) : undefined;
  const whole = { from: Math.min(times.before.from, times.after.from), until: Math.max(times.before.until, times.after.until) };
  return { service: after.service, filters: shared, by: differs?.name ?? "", ...fixed(whole) };
}
