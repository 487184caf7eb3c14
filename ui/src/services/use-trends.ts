// How much each service uses: now, over the range, and at the same time a week ago. One question a
// profile type, not one a service.

import { useEffect, useMemo, useState } from "react";
import { courseOf, newestProfiles } from "../api/course";
import { selectSeries, type Service } from "../api/queries";
import { useQuery } from "../api/use-query";
import { type Cadence, cadenceOf, stepThatFits, type Taken } from "../profile/cadence";
import { isLevel, parseProfileType, type ProfileType } from "../profile/profile-type";
import { selectorOf, SERVICE_LABEL } from "../profile/selector";
import type { Range } from "../profile/time";
import { coarseStep, fineStep, type Point, type Timeline, timelineOf } from "../profile/timeline";

const WEEK_MS = 7 * 86_400_000;
/** So many of the newest profiles tell how long they are and how often they come. */
const LOOKED_AT = 1000;
/** A question that names more services asks for all. */
const MOST_NAMED = 100;
/** So many lines of fine steps would be megabytes: rows on the screen ask for their own. */
export const MANY = 60;
/** Rows that scroll by ask nothing. */
const SETTLED_MS = 250;
/** A line of few steps shows teeth sooner: seconds from which the steps that sums are kept in are taken as they are. */
const KEPT_STEP = 600;

interface Course {
  points: Point[];
  step: number;
  cadence: Cadence | null;
}

export interface Trend {
  line: Timeline;
  /** What the range adds up to; for levels, their mean. */
  sum: number;
  /** Milliseconds. */
  lastSeen: number;
}

export interface Trends {
  now: Map<string, Trend> | undefined;
  lastWeek: Map<string, number> | undefined;
  /** Why there are none, where the server did not answer. */
  error: Error | undefined;
}

export function useTrends(services: Service[] | undefined, range: Range): Trends {
  const mainType = new Map(services?.map((service) => [service.name, service.types[0]!.id]));
  const types = [...new Set(mainType.values())].sort();

  /** Points by service, of its main type. */
  const ask = async (over: Range, signal: AbortSignal) => {
    const found = new Map<string, Course>();
    await Promise.all(
      types.map(async (id) => {
        const type = parseProfileType(id)!;
        const cadences = await cadencesOf(type, over, signal);
        const steps = new Map<number, string[]>();
        for (const [name, main] of mainType) {
          if (main !== id) continue;
          const step = stepThatFits(mainType.size > MANY ? coarseStep(over) : fineStep(over), cadences.get(name) ?? null, KEPT_STEP);
          steps.set(step, [...(steps.get(step) ?? []), name]);
        }
        await Promise.all(
          [...steps].map(async ([step, names]) => {
            const all = steps.size === 1 || names.length > MOST_NAMED;
            const selector = all ? "{}" : selectorOf("", [{ name: SERVICE_LABEL, operator: "=~", value: names.map(escaped).join("|") }]);
            for (const series of await selectSeries(type, selector, over, [SERVICE_LABEL], signal, step)) {
              const name = series.labels.get(SERVICE_LABEL) ?? "";
              if (names.includes(name)) found.set(name, { points: series.points, step, cadence: cadences.get(name) ?? null });
            }
          }),
        );
      }),
    );
    return found;
  };

  const where = `${types.join(" ")} ${range.from} ${range.until}`;
  const now = useQuery(services ? `trends ${where}` : null, async (signal) => {
    const trends = new Map<string, Trend>();
    for (const [name, { points, step, cadence }] of await ask(range, signal)) {
      const type = parseProfileType(mainType.get(name)!)!;
      trends.set(name, {
        line: timelineOf(type, points, range, step, cadence),
        sum: sumOf(points, isLevel(type)),
        lastSeen: points.at(-1)?.time ?? 0,
      });
    }
    return trends;
  });
  const lastWeek = useQuery(services ? `week ${where}` : null, async (signal) => {
    const shifted = { from: range.from - WEEK_MS, until: range.until - WEEK_MS };
    const sums = new Map<string, number>();
    for (const [name, { points }] of await ask(shifted, signal)) sums.set(name, sumOf(points, isLevel(parseProfileType(mainType.get(name)!)!)));
    return sums;
  });
  return { now: now.error ? new Map() : now.data, lastWeek: lastWeek.error ? undefined : lastWeek.data, error: now.error };
}

/** The line of one row, in fine steps; undefined until it is known, or where it is not `wanted`. */
export function useOwnLine(service: Service, range: Range, wanted: boolean): Timeline | undefined {
  const [settled, setSettled] = useState(false);
  useEffect(() => {
    if (!wanted) return;
    const timer = setTimeout(() => setSettled(true), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [wanted]);
  const type = service.types[0]!;
  const selector = selectorOf(service.name, []);
  const course = useQuery(wanted && settled ? `row ${type.id} ${selector} ${range.from} ${range.until}` : null, (signal) => courseOf(type, selector, range, [], signal));
  return useMemo(() => {
    const { data, stale } = course;
    return data && !stale && data.points.length > 0 ? timelineOf(type, data.points, range, data.step, data.cadence) : undefined;
  }, [course.data, course.stale]);
}

/** By service, of those that are among the newest. */
async function cadencesOf(type: ProfileType, range: Range, signal: AbortSignal): Promise<Map<string, Cadence>> {
  const byService = new Map<string, Taken[]>();
  const newest = await newestProfiles(type, "{}", range, LOOKED_AT, signal);
  for (const profile of newest) {
    const name = profile.labels[SERVICE_LABEL] ?? "";
    byService.set(name, [...(byService.get(name) ?? []), profile]);
  }
  const found = new Map<string, Cadence>();
  for (const [name, profiles] of byService) {
    const cadence = cadenceOf(profiles);
    if (cadence) found.set(name, cadence);
  }
  return found;
}

const escaped = (name: string) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function sumOf(points: Point[], isMean: boolean): number {
  const sum = points.reduce((all, point) => all + point.value, 0);
  return isMean && points.length > 0 ? sum / points.length : sum;
}
