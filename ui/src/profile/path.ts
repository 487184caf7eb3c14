// Names a node in a link: a short hash for each function on the way from the root. Names, unlike
// positions, still mean the same after a reload, with newer data or another range.

import { childrenOf, type Flame, nameOf, pathTo, ROOT } from "./flame";

const HASH_DIGITS = 6;
/** Links stay short enough for every server and chat; deeper nodes open at this depth. */
const MAX_DEPTH = 256;

/** FNV-1a over UTF-16 code units, as base 36. */
export function hashName(name: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0).toString(36).padStart(HASH_DIGITS + 1, "0").slice(-HASH_DIGITS);
}

export function encodePath(flame: Flame, node: number): string {
  return pathTo(flame, node)
    .slice(1, MAX_DEPTH + 1)
    .map((n) => hashName(nameOf(flame, n)))
    .join(".");
}

/** The node that the path leads to, or as far as the data still has it. */
export function resolvePath(flame: Flame, path: string): number {
  let node = ROOT;
  if (path === "") return node;
  for (const hash of path.split(".").slice(0, MAX_DEPTH)) {
    const next = childrenOf(flame, node).find((child) => hashName(nameOf(flame, child)) === hash);
    if (next === undefined) return node;
    node = next;
  }
  return node;
}
