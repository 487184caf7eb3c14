import { expect, test } from "vitest";
import { fileWeights, firstLook } from "./lines";
import type { Raw } from "./pprof";

const strings = ["", "main", "work", "main.go", "other.go", "inline"];
const functions = new Map([
  [1, { name: 1, file: 3, start: 10 }],
  [2, { name: 2, file: 3, start: 20 }],
  [3, { name: 2, file: 4, start: 30 }],
  [4, { name: 5, file: 3, start: 5 }],
  [5, { name: 1, file: 0, start: 0 }],
]);
const at = (...lines: [fn: number, line: number][]) => ({ address: 0n, mapping: 0, functions: lines.map(([fn]) => fn), lines: lines.map(([, line]) => line) });
const locations = new Map([
  [1, at([1, 12])],
  [2, at([2, 22])],
  [3, at([4, 6], [2, 23])],
  [4, at([3, 31])],
  [5, at()],
]);
const raw = (...samples: [locations: number[], value: number][]): Raw => ({
  strings,
  functions,
  locations,
  mappings: new Map(),
  types: [],
  samples: samples.map(([locations, value]) => ({ locations, values: [value] })),
  usual: 0,
  timeNanos: 0,
  durationNanos: 0,
});
const shown = (from: Raw, name: string) => {
  const weights = fileWeights(from, name);
  const lines = [...weights.lines].sort(([a], [b]) => a - b).map(([line, { self, total, own }]) => `${line}${own ? "*" : ""}:${self}/${total}`);
  return `${weights.file} ${lines.join(" ")}`;
};

test("lines of a file, inlined ones and those of other functions too", () => {
  expect(shown(raw([[2, 1], 3], [[3, 1], 4], [[1], 2]), "work")).toBe("main.go 6:4/4 12:2/9 22*:3/3 23*:0/4");
});

test("recursion counts once, frames without lines take nothing", () => {
  expect(shown(raw([[2, 2, 1], 5], [[5, 2, 1], 7]), "work")).toBe("main.go 12:0/12 22*:5/12");
});

test("of two functions of one name the heavier one is meant", () => {
  expect(shown(raw([[4, 1], 9], [[2, 1], 3]), "work")).toBe("other.go 31*:9/9");
});

test("a function without a file has no lines", () => {
  expect(shown(raw([[1], 2]), "nothing")).toBe(" ");
});

test("the heaviest line is looked at first, else the beginning", () => {
  expect(firstLook(fileWeights(raw([[2, 1], 3], [[3, 1], 4]), "work"))).toBe(23);
  expect(firstLook(fileWeights(raw([[1], 2]), "work"))).toBe(20);
});
