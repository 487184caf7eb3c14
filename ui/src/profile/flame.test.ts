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
    expect([...flame.width].every((w, i) => w >= 0 && flame.x[i]! >= 0 && flame.x[i]! + w <= 1)).toBe(true);
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
