import { describe, expect, test } from "vitest";
import { decodeFlame, type Flame, levelCount, nameOf, nodeAt, nodeCount } from "./flame";
import { encodePath, resolvePath } from "./path";
import { search } from "./search";
import { foldedTotal, sortRows, topTable } from "./table";

/** total 10: a(6, self 1) → b(5, self 2) → a(3); c(4) */
const WIRE = {
  names: ["total", "a", "b", "c"],
  levels: [
    { values: ["0", "10", "0", "0"] },
    { values: ["0", "6", "1", "1", "0", "4", "4", "3"] },
    { values: ["1", "5", "2", "2"] },
    { values: ["3", "3", "3", "1"] },
  ],
};

/** `name total` lines, indented by depth, in the order of drawing. */
function show(flame: Flame, node = 0, depth = 0): string {
  const line = `${"  ".repeat(depth)}${nameOf(flame, node)} ${flame.total[node]}`;
  const children = Array.from({ length: flame.childCount[node]! }, (_, i) => show(flame, flame.firstChild[node]! + i, depth + 1));
  return [line, ...children].join("\n");
}

interface Tree {
  name: number;
  self: number;
  total: number;
  children: Tree[];
}

function randomTree(seed: number, negative: number): Tree {
  let state = seed;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const grow = (name: number, depth: number): Tree => {
    const self = Math.ceil(next() * 1e6) * (next() < negative ? -1 : 1) * (next() < 0.4 ? 0 : 1);
    const children = Array.from({ length: depth < 5 ? Math.floor(next() * 4) : 0 }, (_, i) => grow(i + 1, depth + 1));
    // A function without self and children would not be in a profile.
    const own = children.length === 0 && self === 0 ? 7 : self;
    return { name, self: own, total: own + children.reduce((sum, child) => sum + child.total, 0), children };
  };
  return grow(0, 0);
}

/** As the server lays it out. */
function toLevels(tree: Tree) {
  const levels: { values: number[] }[] = [];
  let level = [{ node: tree, start: 0 }];
  while (level.length > 0) {
    const values: number[] = [];
    const below: typeof level = [];
    let end = 0;
    for (const { node, start } of level) {
      values.push(start - end, node.total, node.self, node.name);
      end = start + Math.max(0, node.total);
      let left = start + Math.max(0, node.self);
      for (const child of node.children) {
        below.push({ node: child, start: left });
        left += Math.max(0, child.total);
      }
    }
    levels.push({ values });
    level = below;
  }
  return { names: NAMES, levels };
}

const NAMES = ["total", "a", "b", "c"];

function outline(tree: Tree, depth = 0): string {
  return [`${"  ".repeat(depth)}${NAMES[tree.name]} ${tree.total}`, ...tree.children.map((child) => outline(child, depth + 1))].join("\n");
}

describe("decoding", () => {
  test("finds parents by position, with the parent's self on the left", () => {
    const flame = decodeFlame(WIRE, 100);
    expect(show(flame)).toBe("total 10\n  a 6\n    b 5\n      a 3\n  c 4");
    expect(levelCount(flame)).toBe(4);
    expect([...flame.x].map((x) => x.toFixed(2))).toEqual(["0.00", "0.00", "0.60", "0.00", "0.00"]);
    expect(nodeAt(flame, 1, 0.7)).toBe(2);
    expect(nodeAt(flame, 2, 0.7)).toBe(-1);
  });

  test.each([
    ["nothing", {}],
    ["an empty answer", { names: ["total"], levels: [{ values: [0, 0, 0, 0] }] }],
    ["names out of range", { names: ["total"], levels: [{ values: [0, 5, 5, 99] }] }],
    ["a torn level", { names: ["total"], levels: [{ values: [0, 5, 0, 0] }, { values: [0, 5, 5] }] }],
    ["words for numbers", { names: ["total"], levels: [{ values: ["x", "y", "z", "w"] }] }],
  ])("%s does not break it", (_, wire) => {
    const flame = decodeFlame(wire, 100);
    expect(nodeCount(flame)).toBe(1);
    expect(search(flame, "x")?.matches).toBe(0);
  });

  test("negative values keep their totals and are drawn without a width", () => {
    const flame = decodeFlame(
      { names: ["total", "grew", "shrank", "leaf"], levels: [{ values: [0, 10, 0, 0] }, { values: [0, 30, 0, 1, 0, -20, 0, 2] }, { values: [0, 30, 30, 3, 0, -20, -20, 3] }] },
      100,
    );
    expect(show(flame)).toBe("total 10\n  grew 30\n    leaf 30\n  shrank -20\n    leaf -20");
    expect([...flame.width]).toEqual([1, 1, 0, 1, 0]);
  });

  test.each([0, 0.3, 1])("any tree comes back from its levels, with %d of its values negative", (negative) => {
    for (let seed = 1; seed < 200; seed++) {
      const tree = randomTree(seed, negative);
      const flame = decodeFlame(toLevels(tree), 1000);
      expect(show(flame), `seed ${seed}`).toBe(outline(tree));
      flame.width.forEach((width, node) => {
        const parent = Math.max(0, flame.parent[node]!);
        expect(width).toBeGreaterThanOrEqual(0);
        expect(flame.x[node]).toBeGreaterThanOrEqual(flame.x[parent]! - 1e-9);
        expect(flame.x[node]! + width).toBeLessThanOrEqual(flame.x[parent]! + flame.width[parent]! + 1e-9);
      });
    }
  });

  test("other is folded only where the server had to fold", () => {
    const wire = { names: ["total", "a", "other"], levels: [{ values: [0, 5, 0, 0] }, { values: [0, 3, 3, 1, 0, 2, 2, 2] }] };
    expect([...decodeFlame(wire, 3).folded]).toEqual([0, 0, 1]);
    expect([...decodeFlame(wire, 100).folded]).toEqual([0, 0, 0]);
    expect(foldedTotal(decodeFlame(wire, 3))).toBe(2);
  });
});

test("the table counts a function once a stack", () => {
  const flame = decodeFlame(WIRE, 100);
  const rows = sortRows(topTable(flame), flame.names, { key: "total", descending: true });
  expect(rows.map((row) => [flame.names[row.name], row.self, row.total])).toEqual([
    ["a", 4, 6],
    ["b", 2, 5],
    ["c", 4, 4],
  ]);
});

test.each([
  ["a", 1, 6, false],
  ["b|c", 2, 9, false],
  ["A", 0, 0, false],
  ["^(", 0, 0, true],
])("search for %s finds %i functions, %i in total", (pattern, matches, total, problem) => {
  const found = search(decodeFlame(WIRE, 100), pattern)!;
  expect([found.matches, found.total, found.problem !== undefined]).toEqual([matches, total, problem]);
});

test("every node is found again by its path", () => {
  const flame = decodeFlame(WIRE, 100);
  for (let node = 0; node < nodeCount(flame); node++) expect(resolvePath(flame, encodePath(flame, node))).toBe(node);
  expect(resolvePath(flame, `${encodePath(flame, 1)}.gone00`)).toBe(1);
});
