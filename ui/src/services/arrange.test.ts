import { expect, test } from "vitest";
import { arrange, type Facts, type Sort } from "./arrange";

const service = (name: string, ...groups: string[]) => ({ name, types: [], language: "", groups });
const FACTS: Record<string, Facts> = {
  a: { sum: 1, lastWeek: 4, lastSeen: 30 },
  b: { sum: 9, lastWeek: 9, lastSeen: 10 },
  c: { sum: 5, lastWeek: 1, lastSeen: 20 },
};
const shown = (sort: Sort, by = "") =>
  arrange([service("b", "eu", "us"), service("c"), service("a", "us")], sort, ({ name }) => FACTS[name]!, by)
    .map((item) => (item.kind === "heading" ? `[${item.value} ${item.services}]` : item.service.name))
    .join(" ");

test.each<[Sort, string, string]>([
  ["name", "", "a b c"],
  ["value", "", "b c a"],
  ["change", "", "c b a"],
  ["seen", "", "a c b"],
  ["name", "region", "[eu 1] b [us 2] a b [ 1] c"],
])("sorted by %s, grouped by %j", (sort, by, expected) => expect(shown(sort, by)).toBe(expected));
