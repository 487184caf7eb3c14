// How much each service uses: now, over the range, and at the same time a week ago. One question a
// profile type, not one a service.

import { selectSeries, type Service } from "../api/queries";
import { useQuery } from "../api/use-query";
import { isLevel, parseProfileType } from "../profile/profile-type";
import { SERVICE_LABEL } from "../profile/selector";
import type { Range } from "../profile/time";
import { coarseStep, gridOf, type Point, type Timeline, timelineOn } from "../profile/timeline";

const WEEK_MS = 7 * 86_400_000;

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
}

export function useTrends(services: Service[] | undefined, range: Range): Trends {
  const mainType = new Map(services?.map((service) => [service.name, service.types[0]!.id]));
  const types = [...new Set(mainType.values())].sort();
  const step = coarseStep(range);

  /** Points by service, of its main type. */
  const ask = async (over: Range, stepSeconds: number, signal: AbortSignal) => {
    const found = new Map<string, Point[]>();
    await Promise.all(
      types.map(async (id) => {
        for (const series of await selectSeries(parseProfileType(id)!, "{}", over, [SERVICE_LABEL], signal, stepSeconds)) {
          const name = series.labels.get(SERVICE_LABEL) ?? "";
          if (mainType.get(name) === id) found.set(name, series.points);
        }
      }),
    );
    return found;
  };

  const where = `${types.join(" ")} ${range.from} ${range.until}`;
  const now = useQuery(services ? `trends ${where}` : null, async (signal) => {
    const trends = new Map<string, Trend>();
    for (const [name, points] of await ask(range, step, signal)) {
      const type = parseProfileType(mainType.get(name)!)!;
      trends.set(name, {
        line: timelineOn(gridOf(points, range, step), type, points, range),
        sum: sumOf(points, isLevel(type)),
        lastSeen: points.at(-1)?.time ?? 0,
      });
    }
    return trends;
  });
  const lastWeek = useQuery(services ? `week ${where}` : null, async (signal) => {
    const shifted = { from: range.from - WEEK_MS, until: range.until - WEEK_MS };
    const sums = new Map<string, number>();
    for (const [name, points] of await ask(shifted, step, signal)) sums.set(name, sumOf(points, isLevel(parseProfileType(mainType.get(name)!)!)));
    return sums;
  });
  return { now: now.error ? new Map() : now.data, lastWeek: lastWeek.error ? new Map() : lastWeek.data };
}

function sumOf(points: Point[], isMean: boolean): number {
  const sum = points.reduce((all, point) => all + point.value, 0);
  return isMean && points.length > 0 ? sum / points.length : sum;
}
