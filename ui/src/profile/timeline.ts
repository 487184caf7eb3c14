// Makes a line of values per second out of the sums that the query API answers.
//
// A profile covers a span and arrives once a span, but a sum is booked on the step it ends in. On a
// grid that is no multiple of the interval of the profiles, the sums show teeth that the program
// never had. So sums are asked for on a fine grid, the interval is read off them, and they are
// gathered into steps that hold whole intervals.

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
/** Of so many steps one can be left out. */
const MANY = 5;
/** A multiple of 5, 10, 15 and 30 s: profiles of many processes arrive at all times in between. */
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

/** The usual distance between steps that hold something, in seconds. */
export function intervalOf(points: Point[], stepSeconds: number): number {
  if (points.length < 3) return stepSeconds;
  const gaps = points.slice(1).map((point, i) => (point.time - points[i]!.time) / 1000);
  gaps.sort((a, b) => a - b);
  // Jitter makes some gaps one step shorter or longer; the mean of the middle ones evens it out.
  const middle = gaps.slice(Math.floor(gaps.length * 0.1), Math.ceil(gaps.length * 0.9));
  const mean = middle.reduce((sum, gap) => sum + gap, 0) / middle.length;
  return Math.max(stepSeconds, nice(mean * 0.9));
}

/** The grid that a line is drawn on: steps of whole intervals, at most some 180 of them. */
export interface Grid {
  stepSeconds: number;
  intervalSeconds: number;
  /** Milliseconds of the first and the newest point of all lines: beyond them nothing is known. */
  first: number;
  newest: number;
}

/**
 * What a step at the end of a line is divided by: `own`, the time that it holds something of; `whole`,
 * the length of the step, so that lines that stand on each other add up where one takes over.
 */
export type Ends = "own" | "whole";

export function gridOf(points: Point[], range: Range, stepSeconds: number): Grid {
  const interval = intervalOf(points, stepSeconds);
  const wanted = Math.max(LEAST_SHOWN_STEP, (range.until - range.from) / 1000 / SHOWN_POINTS);
  const multiple = Math.max(1, Math.ceil(nice(wanted) / interval));
  return { stepSeconds: interval * multiple * (interval > stepSeconds && multiple === 1 ? 2 : 1), intervalSeconds: interval, first: points[0]?.time ?? range.from, newest: points.at(-1)?.time ?? range.until };
}

export function timelineOf(type: ProfileType, points: Point[], range: Range, stepSeconds: number): Timeline {
  return timelineOn(gridOf(points, range, stepSeconds), type, points, range);
}

/** The line on a grid that other lines share. */
export function timelineOn(grid: Grid, type: ProfileType, points: Point[], range: Range, ends: Ends = "own"): Timeline {
  const { stepSeconds: step, intervalSeconds: interval } = grid;
  const stepMs = step * 1000;
  const length = Math.max(1, Math.ceil((range.until - range.from) / stepMs));
  const sums = new Array<number>(length).fill(0);
  const counts = new Array<number>(length).fill(0);
  const firsts = new Array<number>(length).fill(0);
  const lasts = new Array<number>(length).fill(0);
  for (const point of points) {
    // A step is named by its end, so one at the start lies before the range.
    if (point.time <= range.from) continue;
    const at = Math.min(length - 1, Math.max(0, Math.ceil((point.time - range.from) / stepMs) - 1));
    sums[at]! += point.value;
    if (counts[at]!++ === 0) firsts[at] = point.time;
    lasts[at] = point.time;
  }

  const times: number[] = [];
  const values: (number | null)[] = [];
  for (let i = 0; i < length; i++) {
    const start = range.from + i * stepMs;
    times.push((start + stepMs / 2) / 1000);
    if (counts[i] === 0) {
      values.push(null);
    } else if (isLevel(type)) {
      values.push(sums[i]! / counts[i]!);
    } else {
      // Where a line begins or ends, its step is measured by the time that it holds, as the newest does,
      // which is still filling.
      const begins = counts[i - 1] === 0 || i === 0;
      const isLast = counts[i + 1] === 0 || i === length - 1;
      const intervals = Math.round((lasts[i]! - firsts[i]!) / (interval * 1000)) + 1;
      // A line among others begins and ends with all of them only where all do.
      const known = Math.min(start + stepMs, grid.newest) - Math.max(start, grid.first - interval * 1000);
      const covered = ends === "whole" ? Math.max(interval, known / 1000) : begins || isLast ? intervals * interval : step;
      values.push(perSecond(type, sums[i]!, Math.min(step, covered)));
    }
  }
  // Sums that came on the very steps that are shown do not tell how full the newest one is.
  const newest = counts.findLastIndex((count) => count > 0);
  const isCoarse = interval >= step && !isLevel(type) && counts.filter((count) => count > 0).length > MANY;
  if (isCoarse && newest >= 0 && ends === "own") values[newest] = null;
  return { stepSeconds: step, times, values };
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
