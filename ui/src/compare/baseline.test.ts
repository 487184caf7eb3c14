import { expect, test } from "vitest";
import type { LabelFilter } from "../profile/selector";
import { historyOf } from "./baseline";

const filter = (name: string, value: string): LabelFilter => ({ name, operator: "=", value });
const side = (service: string, ...filters: LabelFilter[]) => ({ service, filters, from: "now-1h", until: "now" });
const times = { before: { from: 0, until: 3_600_000 }, after: { from: 7_200_000, until: 10_800_000 } };

test.each([
  ["by the version in which they differ", side("a", filter("region", "eu"), filter("version", "1")), side("a", filter("region", "eu"), filter("version", "2")), "a region=eu by version"],
  ["as a whole when only the times differ", side("a", filter("region", "eu")), side("a", filter("region", "eu")), "a region=eu by "],
  ["of the service after when there are two", side("a", filter("x", "1")), side("b", filter("x", "2")), "b x=2 by "],
])("history %s", (_, before, after, expected) => {
  const { service, filters, by, from, until } = historyOf({ before, after }, times);
  expect(`${service} ${filters.map(({ name, value }) => `${name}=${value}`).join(",")} by ${by}`).toBe(expected);
  expect([from, until]).toEqual(["1970-01-01T00:00:00Z", "1970-01-01T03:00:00Z"]);
});
