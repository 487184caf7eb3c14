// Two profiles laid over each other: one graph as wide as both together, each node with what it
// weighed before and what it weighs after.

import { CallTree } from "./call-tree";
import { type Flame, nodeCount, ROOT } from "./flame";
import { nestedNodes } from "./recursion";
import { unitOf } from "./units";

export const NORMS = ["total", "time", "none"] as const;
/** Sides are compared as shares of their totals, as values a second, or as they are. */
export type Norm = (typeof NORMS)[number];

export interface Scale {
  before: number;
  after: number;
}

/**
 * What the values of each side are multiplied by; the side after keeps its unit. `ms` is how long it was measured,
 * which is less than the range where nothing was sent for a part of it.
 */
export function scaleOf(norm: Norm, before: { total: number; ms: number }, after: { total: number; ms: number }): Scale {
  if (norm === "total" && before.total > 0 && after.total > 0) return { before: after.total / before.total, after: 1 };
  if (norm === "time" && before.ms > 0 && after.ms > 0) return { before: after.ms / before.ms, after: 1 };
  return { before: 1, after: 1 };
}

export function diffFlames(before: Flame, after: Flame, scale: Scale): Flame {
  const names = [...after.names];
  const known = new Map(names.map((name, i) => [name, i]));
  const renamed = Uint32Array.from(before.names, (name) => {
    let index = known.get(name);
    if (index === undefined) known.set(name, (index = names.push(name) - 1));
    return index;
  });
  const hasFolded = before.folded.includes(1) || after.folded.includes(1);
  const foldedName = hasFolded ? names.push("other") - 1 : -1;
  const tree = CallTree.over(names, { withSides: true, foldedName, rootName: after.name[ROOT]! });
  const lay = (flame: Flame, name: (node: number) => number, side: "before" | "after", factor: number) => {
    const target = new Int32Array(nodeCount(flame));
    for (let node = 0; node < nodeCount(flame); node++) {
      if (node !== ROOT) target[node] = tree.child(target[flame.parent[node]!]!, flame.folded[node] ? foldedName : name(node));
      const self = flame.self[node]! * factor;
      tree.add(target[node]!, { self, [side]: self });
    }
  };
  lay(after, (node) => after.name[node]!, "after", scale.after);
  lay(before, (node) => renamed[before.name[node]!]!, "before", scale.before);
  return tree.finish();
}

/** How a node changed: the difference, its share of the whole after, and its growth (null: it is new). */
export interface Change {
  before: number;
  after: number;
  delta: number;
  growth: number | null;
}

/** Scaled sides differ in their last digits. */
const LAST_DIGITS = 1e-9;

export function changeOf(before: number, after: number): Change {
  const delta = Math.abs(after - before) <= LAST_DIGITS * Math.max(Math.abs(before), Math.abs(after)) ? 0 : after - before;
  return { before, after, delta, growth: before === 0 ? null : delta / Math.abs(before) };
}

/** Go samples memory about once in so many bytes; other profilers do it alike. */
const BYTES_A_SAMPLE = 524_288;

/** Nobody samples time more rarely than ten times a second. */
const LONGEST_PERIOD_NS = 1e8;

/** What a single sample weighs: every value is a multiple of it. Profiles do not say it once they are added up. */
export function sampleWeight(flame: Flame, sampleUnit: string): number {
  let divisor = 0;
  for (const self of flame.self) {
    const value = Math.round(Math.abs(self));
    for (let a = divisor, b = value; ; [a, b] = [b, a % b]) {
      if (b === 0) {
        divisor = a;
        break;
      }
    }
    if (divisor === 1) break;
  }
  const { unit, factor } = unitOf(sampleUnit);
  if (unit === "bytes") return Math.max(divisor, BYTES_A_SAMPLE);
  return unit === "duration" ? Math.min(divisor, LONGEST_PERIOD_NS / factor) : divisor;
}

export interface DiffRow {
  name: number;
  self: Change;
  total: Change;
  /** How far beyond chance the change of self is, in standard deviations; see `significance`. */
  sigma: number;
}

/**
 * The change of a count in standard deviations, when both sides are samples of `weight` each: counts of
 * samples scatter by their square root.
 */
export function significance(change: Change, weight: Scale): number {
  const variance = Math.abs(change.before) * weight.before + Math.abs(change.after) * weight.after;
  return variance === 0 ? 0 : Math.abs(change.delta) / Math.sqrt(variance);
}

/** One row a function. `weight` is what one sample is worth on each side. */
export function diffTable(flame: Flame, weight: Scale): DiffRow[] {
  const { sides } = flame;
  if (!sides) return [];
  const count = flame.names.length;
  const sums = Array.from({ length: 4 }, () => new Float64Array(count)) as [Float64Array, Float64Array, Float64Array, Float64Array];
  const seen = new Uint8Array(count);
  const nested = nestedNodes(flame);
  for (let node = 1; node < nodeCount(flame); node++) {
    if (flame.folded[node]) continue;
    const name = flame.name[node]!;
    seen[name] = 1;
    sums[0][name]! += sides.before.self[node]!;
    sums[1][name]! += sides.after.self[node]!;
    if (nested[node]) continue;
    sums[2][name]! += sides.before.total[node]!;
    sums[3][name]! += sides.after.total[node]!;
  }
  const rows: DiffRow[] = [];
  for (let name = 0; name < count; name++) {
    if (!seen[name]) continue;
    const self = changeOf(sums[0][name]!, sums[1][name]!);
    rows.push({ name, self, total: changeOf(sums[2][name]!, sums[3][name]!), sigma: significance(self, weight) });
  }
  return rows;
}
