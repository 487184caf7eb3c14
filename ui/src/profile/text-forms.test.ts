// Everything that is written for people or for links: units, times, selectors, types, URLs.

import { describe, expect, test } from "vitest";
import { exploreUrl, readExplore } from "../url/state";
import { isLevel, parseProfileType, perSecond, rateOf } from "./profile-type";
import { formatFilters, parseFilters, selectorOf } from "./selector";
import { formatSpan, parseRange, parseTime } from "./time";
import { timelineOf } from "./timeline";
import { formatRate, formatShare, formatValue } from "./units";

test.each([
  [0, "nanoseconds", "0 s"],
  [978_240_000_000, "nanoseconds", "16.3 min"],
  [999_999_999, "nanoseconds", "1 s"],
  [1500, "microseconds", "1.5 ms"],
  [-2_500_000, "nanoseconds", "-2.5 ms"],
  [1023, "bytes", "1023 B"],
  [1536, "bytes", "1.5 KiB"],
  [-3 * 2 ** 30, "bytes", "-3 GiB"],
  [999_999, "count", "1 M"],
  [12, "count", "12"],
])("%d %s is %s", (value, unit, expected) => {
  expect(formatValue(value, unit)).toBe(expected);
});

test.each([
  [0.417, "cores", "0.417 cores"],
  [0.0042, "cores", "4.2 millicores"],
  [1, "cores", "1 core"],
  [2 ** 30, "bytes", "1 GiB"],
  [2048, "bytes/s", "2 KiB/s"],
] as const)("%d %s is %s", (value, rate, expected) => {
  expect(formatRate(value, rate)).toBe(expected);
});

test("shares", () => {
  expect([0, 0.00001, 0.1234, 1, -0.5].map(formatShare)).toEqual(["0 %", "< 0.01 %", "12.3 %", "100 %", "-50 %"]);
});

const NOW = Date.UTC(2026, 7, 1, 12);
test.each([
  ["now", NOW],
  ["now-6h", NOW - 6 * 3_600_000],
  ["now-1h30m", NOW - 90 * 60_000],
  [" now - 2d ", NOW - 2 * 86_400_000],
  ["2026-08-01T12:00Z", NOW],
  ["2026-08-01 12:00Z", NOW],
  [String(NOW), NOW],
  [String(NOW / 1000), NOW],
  ["yesterday", null],
  ["now-6", null],
  ["", null],
  ["7", null],
])("the time %j", (typed, expected) => {
  expect(parseTime(typed, NOW)).toBe(expected);
});

test("ranges", () => {
  expect(parseRange("now", "now-1h", NOW)).toBeNull();
  expect([300_000, 3_600_000, 86_400_000 * 7, 15_000].map(formatSpan)).toEqual(["5 min", "1 h", "7 d", "15 s"]);
});

test("filters survive the way through a link", () => {
  const filters = [
    { name: "region", operator: "=~", value: 'eu-.*"\\\n' },
    { name: "otel.scope.name", operator: "!=", value: "" },
  ] as const;
  expect(parseFilters(formatFilters([...filters]))).toEqual(filters);
  expect(parseFilters('region="eu" or')).toBeNull();
  expect(selectorOf('a"b', [])).toBe('{service_name="a\\"b"}');
  const url = exploreUrl({ service: "shop", filters: [...filters], zoom: "abc", search: "a&b=<c>" });
  expect(readExplore(url.slice(url.indexOf("?")))).toMatchObject({ service: "shop", filters, zoom: "abc", search: "a&b=<c>", from: "now-1h", view: "both" });
});

describe("profile types", () => {
  test.each([
    ["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "cores", false],
    ["memory:inuse_space:bytes:space:bytes", "bytes", true],
    ["memory:alloc_space:bytes:space:bytes", "bytes/s", false],
    ["memory:alloc_objects:count::", "count/s", false],
    ["goroutine:goroutines:count:goroutine:count", "count", true],
    ["mutex:delay:nanoseconds:mutex:count", "waiting", false],
  ])("%s is read as %s", (id, rate, level) => {
    const type = parseProfileType(id)!;
    expect([rateOf(type), isLevel(type)]).toEqual([rate, level]);
  });
  test("malformed", () => expect(["", "cpu", "a:b:c:d:e:f:g"].map(parseProfileType)).toEqual([null, null, null]));
});

describe("timelines", () => {
  const cpu = parseProfileType("process_cpu:cpu:nanoseconds:cpu:nanoseconds")!;

  test("show what was not measured as a gap", () => {
    const line = timelineOf(cpu, [{ time: 60_000, value: 60e9 }, { time: 600_000, value: 60e9 }], { from: 0, until: 600_000 }, 60);
    expect(line.values.filter((value) => value === null).length).toBeGreaterThan(4);
    expect(perSecond(cpu, 60e9, 60)).toBe(1);
  });
});
