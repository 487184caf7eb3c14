import { describe, expect, test } from "vitest";
import { parseProfileType } from "./profile-type";
import { firstSeen, gridOf, heaviestGroups, stacked, timelineOf, timelineOn } from "./timeline";

const cpu = parseProfileType("process_cpu:cpu:nanoseconds:cpu:nanoseconds")!;
/** Half a core in profiles of `every` seconds, booked on steps of `step` seconds. */
const steady = (from: number, until: number, every: number, step: number) =>
  Array.from({ length: (until - from) / every }, (_, i) => ({ time: Math.ceil((from + (i + 1) * every) / step) * step * 1000, value: every * 0.5e9 }));

test.each([
  [10, 5],
  [15, 5],
  [30, 20],
  [60, 5],
])("profiles every %i s on a grid of %i s make a level line to its very ends", (every, step) => {
  const range = { from: 0, until: 3_600_000 };
  const line = timelineOf(cpu, steady(600, 3000, every, step), range, step);
  const shown = line.values.filter((value) => value !== null);
  expect(shown.length).toBeGreaterThan(15);
  for (const value of shown) expect(value).toBeCloseTo(0.5, 1);
  expect([line.values[0], line.values.at(-1)]).toEqual([null, null]);
});

test("lines that stand on each other add up where one takes over", () => {
  const range = { from: 0, until: 3_600_000 };
  const [old, now] = [steady(600, 1845, 15, 5), steady(1845, 3015, 15, 5)];
  const grid = gridOf([...old, ...now], range, 5);
  const [a, b] = [timelineOn(grid, cpu, old, range, "whole"), timelineOn(grid, cpu, now, range, "whole")];
  const tops = stacked([a, b])[1]!;
  for (const top of tops.filter((each) => each !== null)) expect(top).toBeCloseTo(0.5, 5);
  expect(tops.filter((top) => top !== null).length).toBeGreaterThan(30);
});

test("a gap in all lines is a gap in the stack, a gap in one is nothing", () => {
  const line = (values: (number | null)[]) => ({ stepSeconds: 1, times: [0, 1, 2], values });
  expect(stacked([line([1, null, null]), line([2, 3, null])])).toEqual([[1, 0, null], [3, 3, null]]);
});

describe("versions", () => {
  const at = (value: string, ...times: number[]) => ({ value, points: times.map((time) => ({ time, value: 1 })) });
  test.each([
    ["one that took over is marked", [at("1", 0, 100_000), at("2", 200_000)], ["2"]],
    ["those from the start are not", [at("1", 0), at("2", 5_000)], []],
    ["a late start of all is no change", [at("1", 500_000)], []],
    ["no name is no version", [at("1", 0), at("", 300_000)], []],
  ])("%s", (_, groups, expected) => {
    expect(firstSeen(groups, { from: 0, until: 1_000_000 }, 5).map(({ value }) => value)).toEqual(expected);
  });
});

test("many groups become the heaviest and the rest", () => {
  const groups = [1, 5, 3, 4].map((value, i) => ({ value: `v${i}`, points: [{ time: 10, value }] }));
  expect(heaviestGroups(groups, 3, "rest").map(({ value, points }) => [value, points[0]!.value])).toEqual([["v1", 5], ["v3", 4], ["rest", 4]]);
  expect(heaviestGroups(groups, 4, "rest")).toHaveLength(4);
});
