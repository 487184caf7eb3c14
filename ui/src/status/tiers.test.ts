import { expect, test } from "vitest";
import { sumOf, tierOf, tierRow } from "./tiers";

test.each([
  ["samples", "raw"],
  ["profiles", "raw"],
  ["stacks", "names"],
  ["series", "names"],
  ["samples_5m", "5m"],
  ["profiles_1h_service", "1h"],
  ["samples_1d_service", "1d"],
])("%s is of %s", (table, tier) => expect(tierOf(table)).toBe(tier));

test("sums are exact", () => {
  const rows = [
    tierRow({ name: "a", bytes: 15, tables: { samples: 1, profiles: 2, samples_5m: 4, stacks: 8 } }),
    tierRow({ name: "b", bytes: 16, tables: { samples_5m_service: 16 } }),
  ];
  expect(rows[0]!.tiers).toEqual({ raw: 3, "5m": 4, "1h": 0, "1d": 0, names: 8 });
  expect(sumOf(rows, "all")).toEqual({ name: "all", bytes: 31, tiers: { raw: 3, "5m": 20, "1h": 0, "1d": 0, names: 8 } });
});
