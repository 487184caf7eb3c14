// What a reader does to a flame graph to see its point: focus on a function, hide or merge others,
// collapse recursion, group functions by package, library, file or kind. Each step keeps totals exact: what
// is hidden leaves the total, what is merged belongs to its caller.

import { CallTree } from "./call-tree";
import { type Flame, nodeCount, ROOT } from "./flame";
import { kindOf } from "./kind";
import { hashName } from "./path";
import { library, splitSymbol } from "./symbol";

export const GROUPS = ["function", "package", "library", "file", "kind"] as const;
export type Group = (typeof GROUPS)[number];

export interface Shape {
  /** Hashes of function names, see path.ts: links stay short. */
  focus: string;
  hide: string[];
  merge: string[];
  collapse: Recursion;
  group: Group;
}

export type Recursion = "keep" | "collapse";

export const PLAIN: Shape = { focus: "", hide: [], merge: [], collapse: "keep", group: "function" };

export function isPlain(shape: Shape): boolean {
  return shape.focus === "" && shape.hide.length === 0 && shape.merge.length === 0 && shape.collapse === "keep" && shape.group === "function";
}

/** Source file by function name, where it is known; others are grouped under their own name. */
export type Files = ReadonlyMap<string, string>;

const OUTSIDE = -1;
const HIDDEN = -2;

export function reshape(flame: Flame, shape: Shape, files?: Files): Flame {
  if (isPlain(shape)) return flame;
  const hashes = flame.names.map(hashName);
  const hidden = marks(hashes, shape.hide);
  const merged = marks(hashes, shape.merge);
  const focus = shape.focus === "" ? null : marks(hashes, [shape.focus]);
  const { names, of: group } = groupNames(flame.names, shape.group, files);
  const folded = flame.folded.indexOf(1);
  const foldedName = folded < 0 ? -1 : names.push(flame.names[flame.name[folded]!]!) - 1;
  // The root is no function, and of no group.
  const rootName = shape.group === "function" ? flame.name[ROOT]! : names.push(flame.names[flame.name[ROOT]!]!) - 1;
  const tree = CallTree.over(names, { foldedName, withSides: flame.sides !== undefined, rootName });

  // Parents come before their children, so one pass knows where each parent went.
  const target = new Int32Array(nodeCount(flame));
  target[ROOT] = focus ? OUTSIDE : ROOT;
  if (!focus) weigh(tree, ROOT, flame, ROOT);
  for (let node = 1; node < nodeCount(flame); node++) {
    const name = flame.name[node]!;
    const isFolded = flame.folded[node] === 1;
    let above = target[flame.parent[node]!]!;
    if (above === HIDDEN || (!isFolded && hidden[name])) {
      target[node] = HIDDEN;
      continue;
    }
    if (above === OUTSIDE && !isFolded && focus?.[name]) above = ROOT;
    if (above === OUTSIDE) {
      target[node] = OUTSIDE;
      continue;
    }
    const shown = isFolded ? foldedName : group[name]!;
    const repeats = (shape.collapse === "collapse" || shape.group !== "function") && above !== ROOT && tree.nameAt(above) === shown;
    target[node] = (!isFolded && merged[name] && !focus?.[name]) || repeats ? above : tree.child(above, shown);
    weigh(tree, target[node]!, flame, node);
  }
  return tree.finish();
}

function weigh(tree: CallTree, at: number, flame: Flame, node: number): void {
  tree.add(at, {
    self: flame.self[node]!,
    ...(flame.sides ? { before: flame.sides.before.self[node]!, after: flame.sides.after.self[node]! } : {}),
  });
}

function marks(hashes: string[], wanted: string[]): Uint8Array {
  const set = new Set(wanted);
  return Uint8Array.from(hashes, (hash) => (set.has(hash) ? 1 : 0));
}

/** The names of the groups, and the group of each name. */
function groupNames(names: string[], group: Group, files: Files | undefined): { names: string[]; of: Uint32Array } {
  if (group === "function") return { names: [...names], of: Uint32Array.from(names, (_, i) => i) };
  const found = new Map<string, number>();
  const of = Uint32Array.from(names, (name) => {
    const key = groupOf(name, group, files);
    let index = found.get(key);
    if (index === undefined) found.set(key, (index = found.size));
    return index;
  });
  return { names: [...found.keys()], of };
}

function groupOf(name: string, group: Group, files: Files | undefined): string {
  if (group === "kind") return kindOf(name, files?.get(name));
  const { origin } = splitSymbol(name);
  if (group === "file") return files?.get(name) || origin || name;
  return (group === "package" ? origin : library(origin)) || name;
}

/** Turned around, paths share little: two million nodes have come out of two hundred thousand. */
const MOST_CALLERS = 100_000;

/**
 * Who calls `name`, and how much of it is theirs: the function is the root, its callers stand on it. Of
 * very many callers the heaviest are told apart, what is beyond is folded; the sums stay exact.
 */
export function callersOf(flame: Flame, name: number, most = MOST_CALLERS): Flame {
  const names = [...flame.names];
  const foldedName = names.push("folded") - 1;
  const tree = CallTree.over(names, { withSides: flame.sides !== undefined, rootName: name, foldedName });
  const found = outermost(flame, name).sort((a, b) => Math.abs(flame.total[b]!) - Math.abs(flame.total[a]!) || a - b);
  for (const node of found) {
    let at: number = ROOT;
    for (let above = flame.parent[node]!; above > ROOT; above = flame.parent[above]!) {
      const next = tree.size < most ? tree.child(at, flame.name[above]!) : tree.find(at, flame.name[above]!);
      if (next < 0) {
        at = tree.child(at, foldedName);
        break;
      }
      at = next;
    }
    tree.add(at, {
      self: flame.total[node]!,
      ...(flame.sides ? { before: flame.sides.before.total[node]!, after: flame.sides.after.total[node]! } : {}),
    });
  }
  return tree.finish();
}

/** What `name` calls: the function is the root. */
export function calleesOf(flame: Flame, name: number): Flame {
  const tree = CallTree.over([...flame.names], { withSides: flame.sides !== undefined, rootName: name });
  const target = new Int32Array(nodeCount(flame)).fill(OUTSIDE);
  for (let node = 1; node < nodeCount(flame); node++) {
    const above = target[flame.parent[node]!]!;
    if (above !== OUTSIDE) target[node] = tree.child(above, flame.name[node]!);
    else if (flame.name[node] === name && flame.folded[node] === 0) target[node] = ROOT;
    else continue;
    weigh(tree, target[node]!, flame, node);
  }
  return tree.finish();
}

/** The nodes called `name` that have none of the same name above them: each stack counts once. */
function outermost(flame: Flame, name: number): number[] {
  const inside = new Uint8Array(nodeCount(flame));
  const found: number[] = [];
  for (let node = 1; node < nodeCount(flame); node++) {
    if (inside[flame.parent[node]!]) inside[node] = 1;
    else if (flame.name[node] === name && flame.folded[node] === 0) {
      inside[node] = 1;
      found.push(node);
    }
  }
  return found;
}
