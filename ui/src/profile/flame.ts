// Decodes the flame graph that the query API answers into flat typed arrays.
//
// The wire gives levels of fours (offset from the end of the bar before, total, self, name index),
// where children begin right of their parent's self. A negative value (differences of heap
// profiles have them) takes no width. Nodes are kept level by level, so that the children of one
// node are neighbours and a level can be searched by bisection. Positions are computed here anew, so
// that children never leave their parent.

export interface WireFlameGraph {
  names?: string[];
  levels?: { values?: ArrayLike<string | number> }[];
}

/** One of two profiles that are shown as one graph. */
export interface Side {
  self: Float64Array;
  total: Float64Array;
}

export interface Flame {
  names: string[];
  /** levelStart[d] is the first node of depth d; the last entry is the number of nodes. */
  levelStart: Uint32Array;
  name: Uint32Array;
  total: Float64Array;
  self: Float64Array;
  parent: Int32Array;
  firstChild: Uint32Array;
  childCount: Uint32Array;
  depth: Uint32Array;
  /** Left edge and width as shares of the root, 0 to 1. */
  x: Float64Array;
  width: Float64Array;
  /** 1 where the server folded small nodes into one, which is then no function. */
  folded: Uint8Array;
  /** What each node weighed before and after, when the graph shows a difference. */
  sides?: { before: Side; after: Side };
}

export const ROOT = 0;
const FOLDED_NAME = "other";
/** How far the parent of a node is looked for when signed values put the levels out of order. */
const LOOK_AHEAD = 4096;

export function nodeCount(flame: Flame): number {
  return flame.name.length;
}

export function levelCount(flame: Flame): number {
  return flame.levelStart.length - 1;
}

export function isEmpty(flame: Flame): boolean {
  return nodeCount(flame) <= 1 && flame.total[ROOT] === 0;
}

/** `maxNodes` is what was asked for: a smaller answer is whole, and its "other" a real function. */
export function decodeFlame(wire: WireFlameGraph, maxNodes: number): Flame {
  const names = wire.names ?? ["total"];
  const levels = (wire.levels ?? []).map((level): ArrayLike<string | number> => level.values ?? []).filter((v) => v.length >= 4);
  if (levels.length === 0) levels.push([0, 0, 0, 0]);
  levels[0] = Array.from(levels[0]!).slice(0, 4);
  const counts = levels.map((values) => Math.floor(values.length / 4));
  const nodes = counts.reduce((sum, count) => sum + count, 0);

  const flame: Flame = {
    names,
    levelStart: new Uint32Array(levels.length + 1),
    name: new Uint32Array(nodes),
    total: new Float64Array(nodes),
    self: new Float64Array(nodes),
    parent: new Int32Array(nodes).fill(-1),
    firstChild: new Uint32Array(nodes),
    childCount: new Uint32Array(nodes),
    depth: new Uint32Array(nodes),
    x: new Float64Array(nodes),
    width: new Float64Array(nodes),
    folded: new Uint8Array(nodes),
  };

  const wireStart = new Float64Array(nodes);
  let node = 0;
  levels.forEach((values, depth) => {
    flame.levelStart[depth] = node;
    let end = 0;
    for (let i = 0; i + 3 < values.length; i += 4, node++) {
      const start = end + number(values[i]);
      wireStart[node] = start;
      flame.total[node] = number(values[i + 1]);
      flame.self[node] = number(values[i + 2]);
      flame.name[node] = nameIndex(names, values[i + 3]);
      flame.depth[node] = depth;
      end = start + Math.max(0, flame.total[node]!);
    }
  });
  flame.levelStart[levels.length] = node;

  for (let depth = 1; depth < levels.length; depth++) linkLevel(flame, wireStart, depth);
  layOut(flame);
  if (nodes >= maxNodes) markFolded(flame);
  return flame;
}

function number(value: string | number | undefined): number {
  const n = Number(value ?? 0);
  return Number.isFinite(n) ? n : 0;
}

function nameIndex(names: string[], value: string | number | undefined): number {
  const index = number(value);
  if (index >= 0 && index < names.length) return index;
  const unknown = names.indexOf("?");
  return unknown >= 0 ? unknown : names.push("?") - 1;
}

/**
 * Finds each node's parent: the bar above where the node begins right of its self and of the
 * children before, as long as the children's totals do not add up to what the parent has for them.
 */
function linkLevel(flame: Flame, wireStart: Float64Array, depth: number): void {
  const { total, self, levelStart } = flame;
  const lastParent = levelStart[depth]! - 1;
  let parent = levelStart[depth - 1]!;
  let usedWidth = 0;
  let usedTotal = 0;
  for (let node = levelStart[depth]!; node < levelStart[depth + 1]!; node++) {
    const at = wireStart[node]!;
    const fits = at === childrenStart(flame, wireStart, parent) + usedWidth;
    if (!fits || usedTotal === total[parent]! - self[parent]!) {
      const next = findParent(flame, wireStart, parent + 1, lastParent, at, !fits);
      if (next >= 0) {
        parent = next;
        usedWidth = usedTotal = 0;
      }
    }
    flame.parent[node] = parent;
    if (flame.childCount[parent] === 0) flame.firstChild[parent] = node;
    flame.childCount[parent]!++;
    usedWidth += Math.max(0, total[node]!);
    usedTotal += total[node]!;
  }
}

function childrenStart(flame: Flame, wireStart: Float64Array, parent: number): number {
  return wireStart[parent]! + Math.max(0, flame.self[parent]!);
}

/** The next bar whose children begin at `at`; failing that, when asked for, one that covers `at`. */
function findParent(flame: Flame, wireStart: Float64Array, from: number, last: number, at: number, orNearest: boolean): number {
  const end = Math.min(last, from + LOOK_AHEAD);
  let nearest = -1;
  for (let p = from; p <= end; p++) {
    const begins = childrenStart(flame, wireStart, p) === at;
    if (begins && flame.total[p] !== flame.self[p]) return p;
    const covers = wireStart[p]! <= at && wireStart[p]! + flame.total[p]! > at;
    if (nearest < 0 && (begins || covers) && flame.total[p]! > 0) nearest = p;
  }
  return orNearest ? nearest : -1;
}

/** Children stand at the left of their parent, never wider than it. */
export function layOut(flame: Flame): void {
  const { total, self, x, width, firstChild, childCount } = flame;
  const nodes = nodeCount(flame);
  width[ROOT] = 1;
  for (let node = 0; node < nodes; node++) {
    const first = firstChild[node]!;
    const end = first + childCount[node]!;
    if (end === first) continue;
    let children = 0;
    for (let child = first; child < end; child++) children += Math.max(0, total[child]!);
    const wanted = children + Math.max(0, self[node]!);
    const whole = node === ROOT && total[ROOT]! <= 0 ? wanted : Math.max(wanted, total[node]!);
    const scale = whole > 0 ? width[node]! / whole : 0;
    let left = x[node]!;
    for (let child = first; child < end; child++) {
      x[child] = left;
      width[child] = Math.max(0, total[child]!) * scale;
      left += width[child]!;
    }
  }
}

function markFolded(flame: Flame): void {
  const other = flame.names.indexOf(FOLDED_NAME);
  if (other < 0) return;
  for (let node = 1; node < nodeCount(flame); node++) {
    const parent = flame.parent[node]!;
    const last = flame.firstChild[parent]! + flame.childCount[parent]! - 1 === node;
    if (flame.name[node] === other && last && flame.childCount[node] === 0) flame.folded[node] = 1;
  }
}

export function nameOf(flame: Flame, node: number): string {
  return flame.names[flame.name[node]!] ?? "?";
}

/** The nodes from the root down to `node`, both included. */
export function pathTo(flame: Flame, node: number): number[] {
  const path: number[] = [];
  for (let at = node; at >= 0; at = flame.parent[at]!) path.push(at);
  return path.reverse();
}

export function childrenOf(flame: Flame, node: number): number[] {
  const first = flame.firstChild[node]!;
  return Array.from({ length: flame.childCount[node]! }, (_, i) => first + i);
}

/** Share of the root's total; of all that is drawn when the root's total is not positive. */
export function shareOf(flame: Flame, value: number): number {
  const whole = flame.total[ROOT]!;
  return whole === 0 ? 0 : value / Math.abs(whole);
}

/** First node of a level whose right edge lies beyond `left`, or the level's end. */
export function firstVisible(flame: Flame, depth: number, left: number): number {
  let low = flame.levelStart[depth]!;
  let high = flame.levelStart[depth + 1]!;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (flame.x[middle]! + flame.width[middle]! > left) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The node of a level that covers `at` (a share of the root), or -1. */
export function nodeAt(flame: Flame, depth: number, at: number): number {
  if (depth < 0 || depth >= levelCount(flame)) return -1;
  const node = firstVisible(flame, depth, at);
  return node < flame.levelStart[depth + 1]! && flame.x[node]! <= at ? node : -1;
}
