import { expect, test } from "vitest";
import { inLink, parseRange, parseTime } from "./time";

const NOW = Date.UTC(2026, 7, 8, 12);
/** What local time is behind UTC at a time, in milliseconds. */
const behind = (ms: number) => new Date(ms).getTimezoneOffset() * 60_000;

test.each([
  ["now", 0],
  ["now-1h30m", -5_400_000],
  ["now + 15 s", 15_000],
  [String(NOW), 0],
  [String(NOW / 1000), 0],
  ["2026-08-08T12:00Z", 0],
  ["2026-08-08T12:00:00.000z", 0],
  ["2026-08-08 14:00+02:00", 0],
  ["2026-08-08T12:00", 0],
  ["2026-08-08 12:00:15", 15_000],
  ["2026-08-08", -43_200_000],
])("%s in a link", (text, offset) => expect(parseTime(text, NOW)).toBe(NOW + offset));

test.each(["2026-08-08T12:00", "2026-08-08 12:00", "2026-08-08"])("%s is typed in the reader's zone", (typed) => {
  const utc = parseTime(typed, NOW, "utc")!;
  expect(parseTime(typed, NOW, "local")).toBe(utc + behind(utc));
  expect(inLink(typed, "utc")).toMatch(/^2026-08-08T\d\d:00:00Z$/);
  expect(parseTime(inLink(typed, "local"), NOW)).toBe(utc + behind(utc));
});

test.each(["", "yesterday", "now-", "now-1y", "12", "2026-8-8", "2026-08-08T", "2026-08-08T25:00", "2026-08-08 12:00 CET", "2026-13-01", "9".repeat(30)])("%s is no time", (text) =>
  expect(parseTime(text, NOW)).toBeNull());

test("what moves with the clock goes on doing so in a link", () => expect([inLink(" now-6h ", "local"), inLink("1700000000", "local")]).toEqual(["now-6h", "1700000000"]));

test.each([
  ["now", "now-1h"],
  ["now", "now"],
  ["now-99999999999999w", "now"],
])("from %s until %s is no range", (from, until) => expect(parseRange(from, until, NOW)).toBeNull());
