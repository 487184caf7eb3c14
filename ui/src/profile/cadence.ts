// How the profiles of a question lie in time: how long each is, and how long until the next of the same
// process. Read off a few of them; sums over time do not tell it.

export interface Cadence {
  /** Seconds that a profile measures. */
  duration: number;
  /** Seconds from the start of one to the start of the next, a day at most: what a profile stands for. */
  interval: number;
}

/** A profile as the list of single ones has it, times in milliseconds. */
export interface Taken {
  time: number;
  duration: number;
  labels: Record<string, string>;
}

/** Starts jitter by a little; a whole number of seconds is what was meant. */
const JITTER = 0.02;
/** Profiles that are further apart, in seconds, do not stand for what lies between them. */
const LONGEST_INTERVAL = 86_400;
/** The steps that the sums of long ranges are kept in begin here, in seconds. */
const KEPT_STEP = 300;

/** null when profiles say no duration and too few came to see an interval. */
export function cadenceOf(profiles: Taken[]): Cadence | null {
  const starts = new Map<string, number[]>();
  for (const { time, labels } of profiles) {
    const series = JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (!starts.has(series)) starts.set(series, []);
    starts.get(series)!.push(time);
  }
  const gaps = [...starts.values()].flatMap((times) => {
    times.sort((a, b) => a - b);
    return times.slice(1).map((time, i) => time - times[i]!);
  });
  const measured = median(profiles.map(({ duration }) => duration));
  const between = Math.min(median(gaps), LONGEST_INTERVAL * 1000);
  if (measured === 0 && between === 0) return null;
  const duration = seconds(measured || between);
  return { duration, interval: Math.max(duration, seconds(between)) };
}

/** Whether nothing is known of how often profiles come: each series was seen once. */
export function isSeenOnce(profiles: Taken[]): boolean {
  return new Set(profiles.map(({ labels }) => JSON.stringify(labels))).size === profiles.length;
}

/**
 * The step next to `wanted` that holds whole intervals, or an interval in whole steps: on any other grid
 * a steady program shows teeth.
 */
export function stepThatFits(wanted: number, cadence: Cadence | null, kept = KEPT_STEP): number {
  if (cadence === null || wanted >= kept) return wanted;
  const { interval } = cadence;
  if (interval <= wanted) return wanted % interval === 0 ? wanted : interval * Math.ceil(wanted / interval);
  return interval / Math.ceil(interval / wanted);
}

function median(values: number[]): number {
  const present = values.filter((value) => value > 0).sort((a, b) => a - b);
  return present[Math.floor(present.length / 2)] ?? 0;
}

function seconds(ms: number): number {
  const whole = Math.round(ms / 1000);
  return whole > 0 && Math.abs(ms / 1000 - whole) <= whole * JITTER ? whole : ms / 1000;
}
