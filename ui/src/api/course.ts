// Values over time with what is needed to draw them: the step of the points, and how the profiles lie in time.

import { type Cadence, cadenceOf, isSeenOnce } from "../profile/cadence";
import type { ProfileType } from "../profile/profile-type";
import { selectorOf } from "../profile/selector";
import type { Range } from "../profile/time";
import { askFor, fineStep, type Point } from "../profile/timeline";
import type { Profile } from "./openapi";
import { type Series, selectSeries } from "./queries";
import { singles } from "./singles";

/** So many of the newest profiles tell how long they are and how often they come. */
const LOOKED_AT = 200;
const OF_ONE_SERIES = 20;
/** Seconds. */
const FINEST_STEP = 5;
const MOST_STEPS = 10_000;

export interface Course {
  series: Series[];
  /** Of all series together, where there is one series only. */
  points: Point[];
  step: number;
  cadence: Cadence | null;
}

export async function courseOf(type: ProfileType, selector: string, range: Range, groupBy: string[], signal: AbortSignal): Promise<Course> {
  const newest = await newestProfiles(type, selector, range, LOOKED_AT, signal);
  const cadence = await cadenceFrom(newest, type, range, signal);
  // Few profiles make few points, however fine the steps are; then each is as long as it was.
  const finest = Math.max(FINEST_STEP, (range.until - range.from) / 1000 / MOST_STEPS);
  const asked = askFor(range, newest.length < LOOKED_AT && newest.length > 0 ? Math.min(fineStep(range), finest) : fineStep(range), cadence);
  const series = await selectSeries(type, selector, asked.range, groupBy, signal, asked.step);
  return { series, points: series[0]?.points ?? [], step: asked.step, cadence };
}

/** null where no single profile is kept any more, or none can be listed. */
export async function cadenceFor(type: ProfileType, selector: string, range: Range, signal: AbortSignal): Promise<Cadence | null> {
  return cadenceFrom(await newestProfiles(type, selector, range, LOOKED_AT, signal), type, range, signal);
}

async function cadenceFrom(newest: Profile[], type: ProfileType, range: Range, signal: AbortSignal): Promise<Cadence | null> {
  const first = newest[0];
  if (!first || newest.length < LOOKED_AT || !isSeenOnce(newest)) return cadenceOf(newest);
  // So many series that none came twice: one of them speaks for all.
  const own = Object.entries(first.labels).map(([name, value]) => ({ name, operator: "=" as const, value }));
  return cadenceOf([...(await newestProfiles(type, selectorOf("", own), range, OF_ONE_SERIES, signal)), first]);
}

export async function newestProfiles(type: ProfileType, selector: string, range: Range, most: number, signal: AbortSignal): Promise<Profile[]> {
  try {
    return (await singles(type.id + selector, range, "profiles", null, "newest", most, signal)).singles;
  } catch (error) {
    if (signal.aborted) throw error;
    // The question itself will say what is wrong with it.
    return [];
  }
}
