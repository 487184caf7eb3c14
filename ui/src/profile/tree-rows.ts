// The call tree as a list of rows: what is open, indented by depth, the heaviest first.

import { childrenOf, type Flame, ROOT } from "./flame";

export interface TreeRow {
  node: number;
  level: number;
  hasChildren: boolean;
  isOpen: boolean;
}

/** Below this share of its parent a child is not opened along the way down. */
const WORTH_OPENING = 0.5;

function heaviestFirst(flame: Flame, node: number): number[] {
  return childrenOf(flame, node).sort((a, b) => Math.abs(flame.total[b]!) - Math.abs(flame.total[a]!) || a - b);
}

export function treeRows(flame: Flame, open: ReadonlySet<number>): TreeRow[] {
  const rows: TreeRow[] = [];
  const stack = heaviestFirst(flame, ROOT).reverse();
  while (stack.length > 0) {
    const node = stack.pop()!;
    const hasChildren = flame.childCount[node]! > 0;
    const isOpen = hasChildren && open.has(node);
    rows.push({ node, level: flame.depth[node]!, hasChildren, isOpen });
    if (isOpen) stack.push(...heaviestFirst(flame, node).reverse());
  }
  return rows;
}

/** The way down along which most of the weight stays together. */
export function hotPath(flame: Flame, from: number = ROOT): number[] {
  const path: number[] = [];
  for (let node = from; flame.childCount[node]! > 0; ) {
    const heaviest = heaviestFirst(flame, node)[0]!;
    if (Math.abs(flame.total[heaviest]!) < WORTH_OPENING * Math.abs(flame.total[node]!)) break;
    path.push(heaviest);
    node = heaviest;
  }
  return path;
}
