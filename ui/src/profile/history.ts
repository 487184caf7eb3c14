// One function over time: the range in equal parts, each with what the function itself did and what it
// did with all that it called.

import { type Flame, nodeCount, ROOT } from "./flame";
import { nestedNodes } from "./recursion";
import type { Range } from "./time";
import type { Timeline } from "./timeline";

export interface Weight {
  /** Shares of the whole, whose sign they have where they go the same way. */
  self: number;
  total: number;
}

export function partsOf(range: Range, count: number): Range[] {
  const length = (range.until - range.from) / count;
  return Array.from({ length: count }, (_, i) => ({
    from: Math.floor(range.from + i * length) + (i === 0 ? 0 : 1),
    until: Math.floor(range.from + (i + 1) * length),
  }));
}

export function weightOf(flame: Flame, name: string): Weight | null {
  const whole = flame.total[ROOT]!;
  if (whole === 0) return null;
  const index = flame.names.indexOf(name);
  if (index < 0) return { self: 0, total: 0 };
  const nested = nestedNodes(flame);
  let self = 0;
  let total = 0;
  for (let node = 1; node < nodeCount(flame); node++) {
    if (flame.name[node] !== index || flame.folded[node]) continue;
    self += flame.self[node]!;
    if (!nested[node]) total += flame.total[node]!;
  }
  return { self: self / whole, total: total / whole };
}

/**
 * The mean of a line within each part; null where nothing was measured. Where profiles come so seldom that a
 * step is longer than a part, the step that has its middle speaks for it.
 */
export function meansOf(line: Timeline, parts: Range[]): (number | null)[] {
  const half = line.stepSeconds * 500;
  return parts.map(({ from, until }) => {
    const middle = (from + until) / 2;
    let sum = 0;
    let count = 0;
    let around: number | null = null;
    line.values.forEach((value, i) => {
      const at = line.times[i]! * 1000;
      if (value === null) return;
      if (Math.abs(at - middle) <= half) around = value;
      if (at <= from || at > until) return;
      sum += value;
      count++;
    });
    return count === 0 ? around : sum / count;
  });
}
