// Finds functions by regular expression. Lower case finds both cases; a capital letter only its own.

import { type Flame, nodeCount, ROOT } from "./flame";
import { linearTest } from "./pattern";

export interface Matcher {
  test(name: string): boolean;
  /** Why the pattern is no regular expression that can be searched for; it is then taken letter by letter. */
  problem?: string;
}

export interface SearchResult {
  /** 1 for each name that matches. */
  names: Uint8Array;
  /** Functions, not nodes. */
  matches: number;
  /** Sum of the totals of matching nodes that have no matching node above them. */
  total: number;
  problem?: string;
}

export function compile(pattern: string): Matcher {
  const flags = pattern === pattern.toLowerCase() ? "iu" : "u";
  try {
    return { test: linearTest(pattern, flags) };
  } catch (error) {
    const literal = pattern.toLowerCase();
    const problem = error instanceof Error ? error.message : String(error);
    return { test: (name) => name.toLowerCase().includes(literal), problem };
  }
}

export function search(flame: Flame, pattern: string): SearchResult | null {
  if (pattern === "") return null;
  const matcher = compile(pattern);
  const names = new Uint8Array(flame.names.length);
  const present = new Uint8Array(flame.names.length);
  const covered = new Uint8Array(nodeCount(flame));
  let total = 0;
  for (let node = 1; node < nodeCount(flame); node++) {
    if (!flame.folded[node]) present[flame.name[node]!] = 1;
  }
  let matches = 0;
  for (let name = 0; name < names.length; name++) {
    if (present[name] && matcher.test(flame.names[name]!)) {
      names[name] = 1;
      matches++;
    }
  }
  for (let node = ROOT + 1; node < nodeCount(flame); node++) {
    const above = covered[flame.parent[node]!]!;
    const hit = !flame.folded[node] && names[flame.name[node]!] === 1;
    if (hit && !above) total += flame.total[node]!;
    covered[node] = hit ? 1 : above;
  }
  return { names, matches, total, ...(matcher.problem ? { problem: matcher.problem } : {}) };
}
