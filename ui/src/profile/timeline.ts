// Makes a line of values per second out of the sums that the query API answers.
//
// A profile measures a span and stands for the time until the next one, but a sum is booked on the one step
// that the profile begins in. On any grid that is no multiple of the interval of the profiles, such sums show
// teeth and gaps that the program never had. So each sum is spread over what its profiles stand for, and
// divided by the time that anything is known of.

import { type Cadence, stepThatFits } from "./cadence";
import { isLevel, perSecond, type ProfileType } from "./profile-type";
import type { Range } from "./time";

export interface Point {
  /** Milliseconds, the end of the step (t − step, t]. */
  time: number;
  value: number;
}

export interface Timeline {
  stepSeconds: number;
  /** Seconds since 1970, the middle of each step. */
  times: number[];
  /** null where nothing was measured. */
  values: (number | null)[];
}

const NICE_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
const FINE_POINTS = 720;
const SHOWN_POINTS = 180;
const SMALL_POINTS = 60;
/** Of so many points one can be left out. */
const MANY = 5;
/** Seconds: finer steps show how profiles are taken, not what the program did. */
const LEAST_SHOWN_STEP = 30;

function nice(seconds: number): number {
  return NICE_SECONDS.find((step) => step >= seconds) ?? Math.ceil(seconds / 86400) * 86400;
}

/** The step to ask for, in seconds. */
export function fineStep(range: Range): number {
  return Math.max(5, nice((range.until - range.from) / 1000 / FINE_POINTS));
}

/** The step for many small lines at once. */
export function coarseStep(range: Range): number {
  return Math.max(15, nice((range.until - range.from) / 1000 / SMALL_POINTS));
}

/** The step to ask for and the range, so that the profile that the range begins in is there too. */
export function askFor(range: Range, step: number, cadence: Cadence | null): { range: Range; step: number } {
  const fitting = stepThatFits(step, cadence);
  const before = cadence === null ? 0 : Math.ceil((cadence.interval * 1000) / (fitting * 1000)) * fitting * 1000;
  return { range: { from: Math.round(range.from - before), until: range.until }, step: fitting };
}

/** The usual distance between steps that hold something, in seconds. */
function intervalOf(points: Point[], stepSeconds: number): number {
  if (points.length < 3) return stepSeconds;
  const gaps = points.slice(1).map((point, i) => (point.time - points[i]!.time) / 1000);
  gaps.sort((a, b) => a - b);
  // Jitter makes some gaps one step shorter or longer; the mean of the middle ones evens it out.
  const middle = gaps.slice(Math.floor(gaps.length * 0.1), Math.ceil(gaps.length * 0.9));
  return Math.max(stepSeconds, middle.reduce((sum, gap) => sum + gap, 0) / middle.length);
}

/** What lines that belong together are drawn on. Times in milliseconds. */
export interface Grid {
  stepSeconds: number;
  /** Which time each step knows something of. */
  known: Span[];
  /** What a point stands for. */
  spanOf: (point: Point) => Span;
  /** From what a profile measured to what it stands for. */
  scale: number;
}

interface Span {
  from: number;
  until: number;
}

/** `points` are those of all lines together, on steps of `stepSeconds`. */
export function gridOf(points: Point[], range: Range, stepSeconds: number, cadence: Cadence | null = null): Grid {
  const interval = cadence?.interval ?? intervalOf(points, stepSeconds);
  const step = stepSeconds * 1000;
  const length = interval * 1000;
  // Where in its step a profile began is not known: its middle is as far from either end.
  const spanOf = ({ time }: Point): Span =>
    length > step ? { from: time - step / 2, until: time - step / 2 + length } : { from: time - step + length / 2, until: time + length / 2 };
  const wanted = Math.max(LEAST_SHOWN_STEP, stepSeconds, interval, (range.until - range.from) / 1000 / SHOWN_POINTS);
  const known = clip(joined(points.map(spanOf), length / 2), within(points, range, step, length));
  return { stepSeconds: nice(Math.round(wanted)), known, spanOf, scale: cadence === null ? 1 : cadence.interval / cadence.duration };
}

/** How much of a range was measured, in milliseconds: what the profiles that begin in it stand for. */
export function measuredMs(points: Point[], range: Range, stepSeconds: number, cadence: Cadence | null = null): number {
  const within = points.filter(({ time }) => time > range.from && time - stepSeconds * 1000 < range.until);
  const { spanOf } = gridOf(points, range, stepSeconds, cadence);
  const interval = (cadence?.interval ?? intervalOf(points, stepSeconds)) * 1000;
  return joined(within.map(spanOf), interval / 2).reduce((sum, { from, until }) => sum + until - from, 0);
}

/**
 * The time of which all is known. Where several processes take turns, the first and the last of them are
 * not the whole; and what began in the last interval is still being measured.
 */
function within(points: Point[], range: Range, step: number, length: number): Span {
  const first = points[0]?.time ?? range.from;
  const newest = points.at(-1)?.time ?? range.until;
  let { from, until } = range;
  if (length > step) {
    const takeTurns = (near: (time: number) => boolean) => points.filter(({ time }) => near(time)).length > 1;
    if (newest - first > 2 * length) {
      if (takeTurns((time) => time > newest - length + step / 2)) until = Math.min(until, newest);
      if (takeTurns((time) => time < first + length - step / 2)) from = Math.max(from, first + length - step / 2);
    }
  } else if (points.length > MANY && newest > range.until - length) {
    until = Math.min(until, newest - step + length / 2);
  }
  return { from, until };
}

/** Spans in order, those with less than `slack` between them as one. */
function joined(spans: Span[], slack: number): Span[] {
  const found: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = found.at(-1);
    if (last && span.from <= last.until + slack) last.until = Math.max(last.until, span.until);
    else found.push({ ...span });
  }
  return found;
}

function clip(spans: Span[], { from, until }: Span): Span[] {
  return spans.map((span) => ({ from: Math.max(span.from, from), until: Math.min(span.until, until) })).filter((span) => span.until > span.from);
}

export function timelineOf(type: ProfileType, points: Point[], range: Range, stepSeconds: number, cadence: Cadence | null = null): Timeline {
  return timelineOn(gridOf(points, range, stepSeconds, cadence), type, points, range);
}

/** The line on a grid that other lines share: those of the parts of a whole add up to the whole. */
export function timelineOn(grid: Grid, type: ProfileType, points: Point[], range: Range): Timeline {
  const stepMs = grid.stepSeconds * 1000;
  const length = Math.max(1, Math.ceil((range.until - range.from) / stepMs));
  const zeros = () => new Array<number>(length).fill(0);
  const [sums, weights, known] = [zeros(), zeros(), zeros()];
  /** Gives each step its milliseconds of a span. */
  const spread = (spans: Span[], give: (at: number, ms: number) => void) => {
    for (const { from, until } of spans) {
      const last = Math.min(length - 1, Math.floor((until - range.from) / stepMs));
      for (let at = Math.max(0, Math.floor((from - range.from) / stepMs)); at <= last; at++) {
        const start = range.from + at * stepMs;
        const ms = Math.min(until, start + stepMs) - Math.max(from, start);
        if (ms > 0) give(at, ms);
      }
    }
  };
  spread(grid.known, (at, ms) => (known[at]! += ms));
  for (const point of points) {
    const whole = grid.spanOf(point);
    spread(overlap(whole, grid.known), (at, ms) => {
      sums[at]! += isLevel(type) ? point.value * ms : (point.value * grid.scale * ms) / (whole.until - whole.from);
      weights[at]! += ms;
    });
  }
  // At an end of what is known a sliver of a step says little, where the step beside it says more.
  const isSliver = (at: number) => known[at]! < stepMs / 2 && [known[at - 1], known[at + 1]].some((beside) => (beside ?? 0) >= stepMs / 2);
  return {
    stepSeconds: grid.stepSeconds,
    times: sums.map((_, at) => (range.from + (at + 0.5) * stepMs) / 1000),
    values: sums.map((sum, at) => {
      if (weights[at] === 0 || isSliver(at)) return null;
      return isLevel(type) ? sum / weights[at]! : perSecond(type, sum, known[at]! / 1000);
    }),
  };
}

/** The parts of a span that are known; `known` is in order. */
function overlap(span: Span, known: Span[]): Span[] {
  let low = 0;
  for (let high = known.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (known[middle]!.until <= span.from) low = middle + 1;
    else high = middle;
  }
  const found: Span[] = [];
  for (; low < known.length && known[low]!.from < span.until; low++) {
    found.push({ from: Math.max(span.from, known[low]!.from), until: Math.min(span.until, known[low]!.until) });
  }
  return found;
}

/** The span of an axis that has zero on it, with a little room above and below what is drawn. */
export function fromZero(low: number | null, high: number | null): [number, number] {
  const [bottom, top] = [Math.min(0, low ?? 0) * 1.1, Math.max(0, high ?? 0) * 1.1];
  return bottom === top ? [0, 1] : [bottom, top];
}

/** Mean over the steps that hold something. */
export function meanOf(timeline: Timeline): number | null {
  const present = timeline.values.filter((value): value is number => value !== null);
  return present.length === 0 ? null : present.reduce((sum, value) => sum + value, 0) / present.length;
}

/** Lines that stand on each other: each begins where the one below ends. A gap is a gap in all. */
export function stacked(lines: Timeline[]): (number | null)[][] {
  const length = lines[0]?.values.length ?? 0;
  const tops = new Array<number | null>(length).fill(null);
  return lines.map((line) => {
    for (let i = 0; i < length; i++) {
      const value = line.values[i] ?? null;
      const any = value !== null || lines.some((each) => (each.values[i] ?? null) !== null);
      tops[i] = any ? (tops[i] ?? 0) + (value ?? 0) : null;
    }
    return [...tops];
  });
}

/** When each of several values of a label was first seen, for those that came up within the range. */
export function firstSeen(groups: { value: string; points: Point[] }[], range: Range, stepSeconds: number): { value: string; time: number }[] {
  const begin = Math.min(...groups.map(({ points }) => points[0]?.time ?? range.until));
  const settled = Math.max(range.from, begin) + 3 * stepSeconds * 1000;
  return groups
    .map(({ value, points }) => ({ value, time: points[0]?.time ?? 0 }))
    .filter(({ value, time }) => value !== "" && time > settled)
    .sort((a, b) => a.time - b.time);
}

/** The values that weigh the most; what is left is one group called `rest`. */
export function heaviestGroups<G extends { value: string; points: Point[] }>(groups: G[], most: number, rest: string): { value: string; points: Point[] }[] {
  const sum = (points: Point[]) => points.reduce((all, point) => all + Math.abs(point.value), 0);
  const sorted = [...groups].sort((a, b) => sum(b.points) - sum(a.points));
  if (sorted.length <= most) return sorted;
  const merged = new Map<number, number>();
  for (const group of sorted.slice(most - 1)) for (const point of group.points) merged.set(point.time, (merged.get(point.time) ?? 0) + point.value);
  const points = [...merged].map(([time, value]) => ({ time, value })).sort((a, b) => a.time - b.time);
  return [...sorted.slice(0, most - 1), { value: rest, points }];
}
