import { expect, test } from "vitest";
import { changeOf } from "./diff";

test.each([
  [0.1 + 0.2, 0.3, 0, 0],
  [1e15, 1e15 + 1, 0, 0],
  [2, 3, 1, 0.5],
  [-2, -3, -1, -0.5],
  [0, 0, 0, null],
  [0, 1e-12, 1e-12, null],
])("from %d to %d changes by %d", (before, after, delta, growth) => {
  const change = changeOf(before, after);
  expect([change.delta, change.growth]).toEqual([delta, growth]);
});
