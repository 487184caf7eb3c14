// Builds a flame graph out of stacks or nodes in any order: children are found through one hash table
// while it grows, and laid out level by level, by name, at the end.

import { type Flame, layOut, ROOT } from "./flame";

const FIRST_CAPACITY = 1024;

/** What one node weighs before and after, when two profiles are shown as one. */
export interface Weights {
  self: number;
  before?: number;
  after?: number;
}

export class CallTree {
  readonly names: string[];
  private readonly nameIds = new Map<string, number>();
  private readonly parent: number[] = [-1];
  private readonly name: number[] = [0];
  private readonly self: number[] = [0];
  private readonly before: number[] | null;
  private readonly after: number[] | null;
  /** Open addressing: node + 1 by hash of (parent, name), 0 where free. */
  private table = new Int32Array(FIRST_CAPACITY);
  /** The name of nodes that the server folded; it is no function. */
  private readonly foldedName: number;

  private constructor(names: string[], foldedName: number, withSides: boolean) {
    this.names = names;
    this.foldedName = foldedName;
    this.before = withSides ? [0] : null;
    this.after = withSides ? [0] : null;
  }

  /** An empty tree whose names are given out by `intern`. */
  static ofStacks(root: string): CallTree {
    const tree = new CallTree([], -1, false);
    tree.intern(root);
    return tree;
  }

  /** A tree over names that are numbered already. */
  static over(names: string[], options: { foldedName?: number; withSides?: boolean; rootName?: number } = {}): CallTree {
    const tree = new CallTree(names, options.foldedName ?? -1, options.withSides ?? false);
    tree.name[ROOT] = options.rootName ?? 0;
    return tree;
  }

  get size(): number {
    return this.parent.length;
  }

  intern(name: string): number {
    let id = this.nameIds.get(name);
    if (id === undefined) {
      id = this.names.push(name) - 1;
      this.nameIds.set(name, id);
    }
    return id;
  }

  nameAt(node: number): number {
    return this.name[node]!;
  }

  /** Where the child of `parent` called `name` is in the table, or belongs. */
  private slot(parent: number, name: number): number {
    const mask = this.table.length - 1;
    let slot = hash(parent, name) & mask;
    for (;;) {
      const entry = this.table[slot]!;
      if (entry === 0 || (this.parent[entry - 1] === parent && this.name[entry - 1] === name)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  /** The child of `parent` called `name`, or -1. */
  find(parent: number, name: number): number {
    return this.table[this.slot(parent, name)]! - 1;
  }

  /** The child of `parent` called `name`, made when there is none. */
  child(parent: number, name: number): number {
    if (this.parent.length * 2 > this.table.length) this.grow();
    const slot = this.slot(parent, name);
    if (this.table[slot] !== 0) return this.table[slot]! - 1;
    const node = this.parent.push(parent) - 1;
    this.name.push(name);
    this.self.push(0);
    this.before?.push(0);
    this.after?.push(0);
    this.table[slot] = node + 1;
    return node;
  }

  add(node: number, weights: Weights): void {
    this.self[node]! += weights.self;
    if (this.before && this.after) {
      this.before[node]! += weights.before ?? 0;
      this.after[node]! += weights.after ?? 0;
    }
  }

  private grow(): void {
    const table = new Int32Array(this.table.length * 2);
    const mask = table.length - 1;
    for (let node = 1; node < this.parent.length; node++) {
      let slot = hash(this.parent[node]!, this.name[node]!) & mask;
      while (table[slot] !== 0) slot = (slot + 1) & mask;
      table[slot] = node + 1;
    }
    this.table = table;
  }

  /** The tree level by level. Children stand in the order of their names, so that two graphs look alike. */
  finish(): Flame {
    const order = levelOrder(this.parent, this.name, rankNames(this.names));
    const nodes = order.nodes.length;
    const placeOf = new Int32Array(nodes);
    order.nodes.forEach((node, place) => (placeOf[node] = place));
    const place = (values: number[]) => Float64Array.from(order.nodes, (node) => values[node]!);
    const flame: Flame = {
      names: this.names,
      levelStart: order.levelStart,
      name: Uint32Array.from(order.nodes, (node) => this.name[node]!),
      self: place(this.self),
      total: place(this.self),
      parent: Int32Array.from(order.nodes, (node) => (node === ROOT ? -1 : placeOf[this.parent[node]!]!)),
      firstChild: new Uint32Array(nodes),
      childCount: new Uint32Array(nodes),
      depth: new Uint32Array(nodes),
      x: new Float64Array(nodes),
      width: new Float64Array(nodes),
      folded: new Uint8Array(nodes),
    };
    for (let depth = 0; depth + 1 < order.levelStart.length; depth++) {
      flame.depth.fill(depth, order.levelStart[depth], order.levelStart[depth + 1]);
    }
    if (this.before && this.after) {
      const before = place(this.before);
      const after = place(this.after);
      flame.sides = { before: { self: before, total: before.slice() }, after: { self: after, total: after.slice() } };
    }
    for (let node = nodes - 1; node > ROOT; node--) {
      const parent = flame.parent[node]!;
      flame.total[parent]! += flame.total[node]!;
      flame.childCount[parent]!++;
      flame.firstChild[parent] = node;
      if (flame.name[node] === this.foldedName) flame.folded[node] = 1;
      if (flame.sides) {
        flame.sides.before.total[parent]! += flame.sides.before.total[node]!;
        flame.sides.after.total[parent]! += flame.sides.after.total[node]!;
      }
    }
    layOut(flame);
    return flame;
  }
}

function hash(parent: number, name: number): number {
  let h = Math.imul(parent, 0x9e3779b1) ^ Math.imul(name + 1, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

/** The place of each name in alphabetical order. */
function rankNames(names: string[]): Uint32Array {
  const sorted = Uint32Array.from(names, (_, i) => i);
  sorted.sort((a, b) => (names[a]! < names[b]! ? -1 : names[a]! > names[b]! ? 1 : a - b));
  const rank = new Uint32Array(names.length);
  sorted.forEach((name, place) => (rank[name] = place));
  return rank;
}

/** Nodes breadth first; nodes come after their parents in `parent`. */
function levelOrder(parent: number[], name: number[], rank: Uint32Array): { nodes: Uint32Array; levelStart: Uint32Array } {
  const count = parent.length;
  const start = new Uint32Array(count + 2);
  for (let node = 1; node < count; node++) start[parent[node]! + 2]!++;
  for (let i = 2; i < start.length; i++) start[i]! += start[i - 1]!;
  const children = new Uint32Array(count);
  for (let node = 1; node < count; node++) children[start[parent[node]! + 1]!++] = node;
  const nodes = new Uint32Array(count);
  const levelStart = [0];
  let end = 1;
  for (let begin = 0; begin < end; ) {
    const levelEnd = end;
    for (; begin < levelEnd; begin++) {
      const node = nodes[begin]!;
      const own = children.subarray(start[node]!, start[node + 1]!);
      if (own.length > 1) own.sort((a, b) => rank[name[a]!]! - rank[name[b]!]!);
      nodes.set(own, end);
      end += own.length;
    }
    levelStart.push(levelEnd);
  }
  return { nodes, levelStart: Uint32Array.from(levelStart) };
}
