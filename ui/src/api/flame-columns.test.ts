import { expect, test } from "vitest";
import { childrenOf, nameOf } from "../profile/flame";
import { Writer } from "../profile/protobuf";
import { readFlameColumns } from "./flame-columns";

/** total(10) → a(6, self 2) → b(4); e(4); folded other(1) below the root. */
const columns = { names: ["total", "a", "e", "other", "b"], name: [0, 1, 2, 3, 4], children: [3, 1, 0, 0, 0], self: [0, 2, 4, 1, 4], total: [11, 6, 4, 1, 4], folded: [3] };

function written(change: Partial<typeof columns> = {}): Uint8Array {
  const { names, name, children, self, total, folded } = { ...columns, ...change };
  const writer = new Writer();
  for (const each of names) writer.text(1, each);
  return writer.ints(2, name).ints(3, children).ints(6, folded).ints(4, self).ints(5, total).bytes();
}

test("columns become a graph", () => {
  const flame = readFlameColumns(written());
  expect([...flame.levelStart]).toEqual([0, 1, 4, 5]);
  expect(childrenOf(flame, 0).map((node) => nameOf(flame, node))).toEqual(["a", "e", "other"]);
  expect([...flame.parent]).toEqual([-1, 0, 0, 0, 1]);
  expect([...flame.depth]).toEqual([0, 1, 1, 1, 2]);
  expect([...flame.folded]).toEqual([0, 0, 0, 1, 0]);
  expect(flame.width[0]).toBe(1);
  expect(flame.x[4]).toBe(0);
  expect(flame.width[4]).toBeCloseTo(4 / 11);
});

test("sums that stop at the largest number leave the shape alone", () => {
  const most = 2 ** 53 - 1;
  const flame = readFlameColumns(written({ total: [most, most, most, most, most] }));
  expect([...flame.parent]).toEqual([-1, 0, 0, 0, 1]);
  expect(flame.x[3]! + flame.width[3]!).toBeLessThanOrEqual(1 + 1e-9);
});

test("nothing is the root alone", () => {
  const flame = readFlameColumns(written({ names: ["total"], name: [0], children: [0], self: [0], total: [0], folded: [] }));
  expect([...flame.levelStart]).toEqual([0, 1]);
});

test.each([
  ["too few children", { children: [3, 0, 0, 0, 0] }],
  ["too many children", { children: [3, 2, 0, 0, 0] }],
  ["a node before its caller", { children: [0, 3, 1, 0, 0] }],
  ["a missing column", { self: [0] }],
  ["an unknown name", { name: [0, 1, 2, 3, 9] }],
])("%s is refused", (_, change) => expect(() => readFlameColumns(written(change))).toThrow("flame graph"));
