import { expect, test } from "vitest";
import type { Heatmap } from "../api/openapi";
import { areaOf, bandOf, cellsOf, countIn, firstAlike, roundTimes, strength, ticksOf } from "./heatmap";

const map: Heatmap = {
  type: "",
  start: 1000,
  step: 10,
  columns: 4,
  values: { min: 10, max: 40 },
  bands: [10, 20, 30],
  cells: [
    [0, 0, 5],
    [1, 2, 1],
    [3, 1, 2],
  ],
};

test("corners in any order make the area between them, edges included", () => {
  const area = { from: 1010, until: 1039, min: 20, max: 40 };
  expect(areaOf(map, { column: 3, band: 1 }, { column: 1, band: 2 })).toEqual(area);
  expect(areaOf(map, { column: 1, band: 2 }, { column: 3, band: 1 })).toEqual(area);
  expect(areaOf(map, { column: 0, band: 0 }, { column: 0, band: 0 })).toEqual({ from: 1000, until: 1009, min: 10, max: 19 });
});

test("an area covers the cells it was made of", () => {
  const area = areaOf(map, { column: 1, band: 1 }, { column: 3, band: 2 });
  expect(cellsOf(map, area)).toEqual({ left: 1, right: 3, low: 1, high: 2 });
  expect(countIn(map, area)).toBe(3);
  expect(cellsOf(map, { ...area, from: 2000, until: 3000 })).toBeNull();
  expect(cellsOf(map, { ...area, min: 1, max: 5 })).toBeNull();
  expect(countIn(map, { from: 0, until: 9999, min: 0, max: 99 })).toBe(8);
});

test.each([
  [9, -1],
  [10, 0],
  [29, 1],
  [30, 2],
  [99, 2],
])("%i lies in band %i", (value, band) => expect(bandOf(map, value)).toBe(band));

const steps = (bands: number[], values: { min: number; max: number }, cells: Heatmap["cells"]): Heatmap => ({ ...map, bands, values, cells });
test.each([
  ["all profiles have one value", steps([10, 10, 10], { min: 10, max: 10 }, [[0, 2, 5]]), 0, "10–10", 5],
  ["and the cell itself is chosen", steps([10, 10, 10], { min: 10, max: 10 }, [[0, 2, 5]]), 2, "10–10", 5],
  ["an empty band narrower than 1", steps([10, 11, 11, 11, 12], { min: 10, max: 12 }, [[0, 3, 4], [0, 4, 2]]), 1, "11–11", 4],
  ["the last of such bands", steps([10, 11, 11, 11, 12], { min: 10, max: 12 }, [[0, 3, 4], [0, 4, 2]]), 3, "11–11", 4],
] as const)("%s", (_, narrow, band, values, count) => {
  const area = areaOf(narrow, { column: 0, band }, { column: 0, band });
  expect([`${area.min}–${area.max}`, countIn(narrow, area)]).toEqual([values, count]);
});

test("bands that begin alike are one", () => {
  const narrow = steps([1, 1, 2, 2], { min: 1, max: 3 }, []);
  expect([0, 1, 2, 3].map((band) => firstAlike(narrow, band))).toEqual([0, 0, 2, 2]);
});

test("one is seen, and more is stronger", () => {
  expect([0, 1, 10, 100].map((count) => strength(count, 100))).toEqual([0, 0.18, 0.5900000000000001, 1]);
  expect(strength(1, 1)).toBe(1);
});

test("times are round where the reader is", () => {
  const hour = 3_600_000;
  const range = { from: 100_000, until: 100_000 + 2 * hour };
  expect(roundTimes(range, 4, 0).map((time) => time / hour)).toEqual([0.5, 1, 1.5, 2]);
  expect(roundTimes({ from: 0, until: 48 * hour }, 3, 9 * hour).map((time) => time / hour)).toEqual([15, 39]);
});

test("ticks are round and few", () => {
  expect(ticksOf(map, 4, 10)).toEqual([10, 20, 30, 40]);
  expect(ticksOf({ ...map, values: { min: 0, max: 3 * 2 ** 20 } }, 3, 2)).toEqual([0, 2 ** 20, 2 * 2 ** 20, 3 * 2 ** 20]);
  expect(ticksOf({ ...map, values: { min: 7, max: 7 } }, 4, 10)).toEqual([7]);
  expect(ticksOf({ ...map, values: null }, 4, 10)).toEqual([]);
});
