// How a label splits a query: what each value's share is, how unevenly the shares lie, and which value the
// change over the range comes from.

import type { Point } from "./timeline";

export interface SplitPart {
  value: string;
  points: Point[];
  sum: number;
  share: number;
  /** The second half of the range minus the first. */
  change: number;
}

export interface Split {
  label: string;
  parts: SplitPart[];
  /** 0: all values weigh the same; 1: one has everything. */
  uneven: number;
  /** Of all that changed within values, the largest part. */
  moved: number;
}

export function splitOf(label: string, groups: { value: string; points: Point[] }[], from: number, until: number): Split {
  const middle = (from + until) / 2;
  const parts = groups.map(({ value, points }) => {
    let sum = 0;
    let change = 0;
    for (const point of points) {
      sum += point.value;
      change += point.time > middle ? point.value : -point.value;
    }
    return { value, points, sum, share: 0, change };
  });
  const whole = parts.reduce((all, part) => all + Math.abs(part.sum), 0);
  for (const part of parts) part.share = whole === 0 ? 0 : Math.abs(part.sum) / whole;
  parts.sort((a, b) => b.share - a.share || (a.value < b.value ? -1 : 1));
  return { label, parts, uneven: unevenness(parts.map(({ share }) => share)), moved: largestMove(parts, whole) };
}

/** How far the shares are from equal ones, of as far as they could be. */
export function unevenness(shares: number[]): number {
  const count = shares.length;
  if (count < 2) return 0;
  const apart = shares.reduce((sum, share) => sum + Math.abs(share - 1 / count), 0) / 2;
  return apart / (1 - 1 / count);
}

function largestMove(parts: SplitPart[], whole: number): number {
  return whole === 0 ? 0 : Math.max(0, ...parts.map(({ change }) => Math.abs(change) / whole));
}
