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
/** A multiple of 5, 10, 15 and 30 s: profiles of many processes arrive at all times in between. */
const LEAST_SHOWN_STEP = 30;

function nice(seconds: number): number {
  return NICE_SECONDS.find((step) => step >= seconds) ?? Math.ceil(seconds / 86400) * 86400;
}

/** The step to ask for, in seconds. */
export function fineStep(range: Range): number {
  return Math.max(5, nice((range.until - range.from) / 1000 / FINE_POINTS));
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

export function timelineOf(type: ProfileType, points: Point[], range: Range, stepSeconds: number): Timeline {
  const interval = intervalOf(points, stepSeconds);
  const wanted = Math.max(LEAST_SHOWN_STEP, (range.until - range.from) / 1000 / SHOWN_POINTS);
  const multiple = Math.max(1, Math.ceil(nice(wanted) / interval));
  const step = interval * multiple * (interval > stepSeconds && multiple === 1 ? 2 : 1);
  const stepMs = step * 1000;
  const length = Math.max(1, Math.ceil((range.until - range.from) / stepMs));
  const sums = new Array<number>(length).fill(0);
  const counts = new Array<number>(length).fill(0);
  for (const point of points) {
    // A step is named by its end, so one at the start lies before the range.
    if (point.time <= range.from) continue;
    const at = Math.min(length - 1, Math.max(0, Math.ceil((point.time - range.from) / stepMs) - 1));
    sums[at]! += point.value;
    counts[at]!++;
  }

  const last = points.at(-1)?.time ?? range.from;
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
      // The newest step is still filling: it is measured by the time that it holds so far.
      const covered = last <= start + stepMs && last > start ? Math.max(interval, (last - start) / 1000) : step;
      values.push(perSecond(type, sums[i]!, Math.min(step, covered)));
    }
  }
  return { stepSeconds: step, times, values };
}

/** Mean over the steps that hold something. */
export function meanOf(timeline: Timeline): number | null {
  const present = timeline.values.filter((value): value is number => value !== null);
  return present.length === 0 ? null : present.reduce((sum, value) => sum + value, 0) / present.length;
}
