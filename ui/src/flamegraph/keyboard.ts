// Where the arrow keys lead: down to the heaviest child, up to the parent, sideways to the next
// node of the same level.

import { type Flame, ROOT } from "../profile/flame";

export type Move = "up" | "down" | "left" | "right" | "home";

export const MOVES: Record<string, Move> = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right",
  Home: "home",
};

export function move(flame: Flame, from: number, direction: Move): number {
  const depth = flame.depth[from]!;
  switch (direction) {
    case "home":
      return ROOT;
    case "up":
      return Math.max(ROOT, flame.parent[from]!);
    case "down":
      return heaviestChild(flame, from) ?? from;
    case "left":
      return neighbour(flame, from, -1, flame.levelStart[depth]!);
    case "right":
      return neighbour(flame, from, 1, flame.levelStart[depth + 1]! - 1);
  }
}

function heaviestChild(flame: Flame, node: number): number | null {
  let best: number | null = null;
  const first = flame.firstChild[node]!;
  for (let child = first; child < first + flame.childCount[node]!; child++) {
    if (best === null || flame.width[child]! > flame.width[best]!) best = child;
  }
  return best;
}

/** Nodes without a width cannot be seen and are stepped over. */
function neighbour(flame: Flame, node: number, step: 1 | -1, last: number): number {
  for (let at = node; at !== last; ) {
    at += step;
    if (flame.width[at]! > 0) return at;
  }
  return node;
}
