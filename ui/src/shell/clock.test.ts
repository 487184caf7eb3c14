import { beforeAll, expect, test } from "vitest";
import { chooseZone, clock } from "./clock";

const HOUR = 3_600_000;
const BEGIN = Date.UTC(2026, 7, 1);
const every = (hours: number, count: number) => Array.from({ length: count }, (_, i) => BEGIN + i * hours * HOUR);

beforeAll(() => chooseZone("utc"));

test.each([
  ["a date stands there once", every(12, 4), 7 * 24, ["1 Aug", "12:00", "2 Aug", "12:00"]],
  ["days are dates", every(24, 2), 7 * 24, ["1 Aug", "2 Aug"]],
  ["hours are times of the day", every(6, 3), 24, ["00:00", "06:00", "12:00"]],
  ["minutes have seconds", every(1 / 240, 3), 1 / 60, ["00:00:00", "00:00:15", "00:00:30"]],
])("ticks: %s", (_, times, hours, expected) => expect(clock.ticks(times, { from: BEGIN, until: BEGIN + hours * HOUR })).toEqual(expected));

test("the ends of a short range are told apart", () => {
  const range = { from: BEGIN, until: BEGIN + 40_000 };
  expect([clock.minute(range.from, range), clock.minute(range.until, range), clock.minute(range.until)].map((each) => each.replace(/ 2026/, ""))).toEqual(["1 Aug, 00:00:00 UTC", "1 Aug, 00:00:40 UTC", "1 Aug, 00:00 UTC"]);
});
