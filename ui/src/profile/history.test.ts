import { expect, test } from "vitest";
import { CallTree } from "./call-tree";
import { weightOf } from "./history";

function flameOf(stacks: [string, number][]) {
  const names = ["total", ...new Set(stacks.map(([name]) => name))];
  const tree = CallTree.over(names, { withSides: false, foldedName: -1, rootName: 0 });
  for (const [name, self] of stacks) tree.add(tree.child(0, names.indexOf(name)), { self });
  return tree.finish();
}

test.each([
  ["of a positive whole", [["grow", 6], ["shrink", -2]], "grow", 4, 6],
  ["of a negative whole", [["grow", 5], ["shrink", -8]], "grow", -3, 5],
  ["of a negative whole, the negative part", [["grow", 5], ["shrink", -8]], "shrink", -3, -8],
] as const)("a share %s, times the whole, is what was measured", (_, stacks, name, whole, expected) => {
  expect(weightOf(flameOf(stacks.map((each) => [...each])), name)!.self * whole).toBeCloseTo(expected);
});
