// What each line of a source file used: where a function's file is, and self and total of its lines.

import type { Raw } from "./pprof";

export interface LineWeight {
  self: number;
  total: number;
  /** The line belongs to the function that was asked for. */
  own: boolean;
}

export interface FileWeights {
  /** As the profile names it; empty when it does not. */
  file: string;
  /** Where the function begins; 0 when the profile does not say. */
  start: number;
  /** By line, from 1. */
  lines: Map<number, LineWeight>;
}

/**
 * The file of the function `name`, with what every line of it used, in the first type of the profile. Of
 * several functions of that name the one that used the most counts. A line that calls itself counts once.
 */
export function fileWeights(raw: Raw, name: string): FileWeights {
  const text = (index: number) => raw.strings[index] ?? "";
  const named = new Set<number>();
  for (const [id, fn] of raw.functions) if (text(fn.name) === name) named.add(id);
  const file = fileOf(raw, named);
  const weights: FileWeights = { file: text(file), start: 0, lines: new Map() };
  if (file === 0 || weights.file === "") return weights;
  for (const id of named) {
    const fn = raw.functions.get(id)!;
    if (fn.file === file && fn.start > 0) weights.start = fn.start;
  }
  const seen = new Set<number>();
  for (const sample of raw.samples) {
    const value = sample.values[0] ?? 0;
    if (value === 0) continue;
    seen.clear();
    let isLeaf = true;
    for (const id of sample.locations) {
      const location = raw.locations.get(id);
      if (!location) continue;
      for (let i = 0; i < location.functions.length; i++) {
        const fn = location.functions[i]!;
        const line = location.lines[i]!;
        if (raw.functions.get(fn)?.file === file && line > 0) {
          let weight = weights.lines.get(line);
          if (!weight) weights.lines.set(line, (weight = { self: 0, total: 0, own: false }));
          if (named.has(fn)) weight.own = true;
          if (isLeaf) weight.self += value;
          if (!seen.has(line)) weight.total += value;
          seen.add(line);
        }
        isLeaf = false;
      }
      isLeaf = false;
    }
  }
  return weights;
}

/** Index of the file in which the functions `named` used the most; 0 when they have none. */
function fileOf(raw: Raw, named: ReadonlySet<number>): number {
  const totals = new Map<number, number>();
  for (const id of named) totals.set(raw.functions.get(id)!.file, 0);
  totals.delete(0);
  if (totals.size > 1) {
    for (const sample of raw.samples) {
      const files = new Set<number>();
      for (const id of sample.locations) for (const fn of raw.locations.get(id)?.functions ?? []) if (named.has(fn)) files.add(raw.functions.get(fn)!.file);
      for (const file of files) totals.set(file, (totals.get(file) ?? 0) + (sample.values[0] ?? 0));
    }
  }
  return [...totals].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0;
}

/** Which line to look at first: the heaviest of the function, else where it begins. */
export function firstLook({ lines, start }: FileWeights): number {
  let best = 0;
  let most = 0;
  for (const [line, { own, total }] of lines) {
    if (own && (total > most || (total === most && line < best))) {
      best = line;
      most = total;
    }
  }
  return best || start || 1;
}
