// Sums the flame graph by function: self, and total counted once a stack however often the
// function calls itself.

import { type Flame, nodeCount } from "./flame";
import { nestedNodes } from "./recursion";

export interface TableRow {
  /** Index into the flame graph's names. */
  name: number;
  self: number;
  total: number;
}

export type SortKey = "name" | "self" | "total";
export interface Sort {
  key: SortKey;
  descending: boolean;
}

export function topTable(flame: Flame): TableRow[] {
  const self = new Float64Array(flame.names.length);
  const total = new Float64Array(flame.names.length);
  const seen = new Uint8Array(flame.names.length);
  const nested = nestedNodes(flame);
  for (let node = 1; node < nodeCount(flame); node++) {
    if (flame.folded[node]) continue;
    self[flame.name[node]!]! += flame.self[node]!;
    if (!nested[node]) total[flame.name[node]!]! += flame.total[node]!;
    seen[flame.name[node]!] = 1;
  }

  const rows: TableRow[] = [];
  for (let name = 0; name < flame.names.length; name++) {
    if (seen[name]) rows.push({ name, self: self[name]!, total: total[name]! });
  }
  return rows;
}

/** What is folded away: no row of the table has it, so the table says so below. */
export function foldedTotal(flame: Flame): number {
  let sum = 0;
  for (let node = 0; node < nodeCount(flame); node++) if (flame.folded[node]) sum += flame.total[node]!;
  return sum;
}

export function sortRows(rows: TableRow[], names: string[], sort: Sort): TableRow[] {
  const sign = sort.descending ? -1 : 1;
  const byName = (a: TableRow, b: TableRow) => compare(names[a.name]!, names[b.name]!);
  return [...rows].sort((a, b) =>
    sort.key === "name"
      ? sign * byName(a, b)
      : sign * (a[sort.key] - b[sort.key]) || byName(a, b),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The function that does the most itself, or -1. */
export function mostSelf(flame: Flame): number {
  let best = -1;
  let most = 0;
  for (const row of topTable(flame)) {
    if (row.self > most) {
      best = row.name;
      most = row.self;
    }
  }
  return best;
}
