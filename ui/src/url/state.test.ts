// Links: what is written is read, old and foreign links lead to the same place.

import { describe, expect, test } from "vitest";
import { earlier, lastTwo, versionSides } from "../compare/baseline";
import { unreadOf } from "../shell/Unreadable";
import { adhocUrl, type CompareState, compareUrl, exploreUrl, functionUrl, labelsUrl, readCompare, readExplore, readFunction, readLabels, readServices, readView, servicesUrl, translated } from "./state";

const search = (url: string) => url.slice(url.indexOf("?"));
const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

test("an explore link says everything", () => {
  const state = {
    service: "a&b=<c>",
    type: CPU,
    filters: [{ name: "region", operator: "=~" as const, value: 'e"u' }],
    from: "now-6h",
    until: "now-1h",
    zoom: "abc.def",
    search: "^x|y$",
    view: "sandwich" as const,
    fn: "abc",
    colors: "self" as const,
    grows: "flame" as const,
    focus: "f1",
    hide: ["h1", "h2"],
    merge: ["m1"],
    collapse: "collapse" as const,
    group: "package" as const,
    by: "pod",
  };
  expect(readExplore(search(exploreUrl(state)))).toEqual(state);
  expect(readView(search(adhocUrl(state)))).toMatchObject({ zoom: "abc.def", hide: ["h1", "h2"], view: "sandwich" });
});

test("what is usual is left out", () => {
  expect(exploreUrl({ ...readExplore(""), service: "shop" })).toBe("/explore?v=1&service=shop");
  expect([servicesUrl(readServices("")), labelsUrl(readLabels("")), functionUrl(readFunction(""))]).toEqual(["/", "/labels", "/function"]);
});

test("nonsense is taken for what is usual", () => {
  expect(readExplore("?v=1&view=upside&colors=pink&hide=..%00.x&labels=%22&group=9")).toMatchObject({ view: "both", colors: "package", hide: ["x"], filters: [], group: "function" });
});

test("labels that cannot be read are kept and said", () => {
  const state = readExplore('?v=1&service=shop&labels=version%3D1.5.0');
  expect(state).toMatchObject({ filters: [], unread: "version=1.5.0" });
  expect(readExplore(search(exploreUrl({ ...state, from: "now-6h" }))).unread).toBe("version=1.5.0");
  expect(readExplore(search(exploreUrl({ ...state, unread: undefined }))).unread).toBeUndefined();
  expect(unreadOf(state).map(({ undo }) => undo)).toEqual([{ filters: [], unread: undefined }]);
  expect(readCompare("?v=1&labels2=x").after.unread).toBe("x");
});

test.each([
  ["?v=1&from=yesterday", { from: "now-1h", until: "now" }],
  ["?v=1&from=now&until=now-1h", { from: "now-1h", until: "now" }],
  ["?v=1&type=nonsense", { type: "" }],
])("what cannot be read in %s has a way on", (link, undo) => expect(unreadOf(readExplore(link)).map((each) => each.undo)).toEqual([undo]));

test("comparisons keep both sides", () => {
  const side = (version: string, from: string) => ({ service: "shop", filters: [{ name: "version", operator: "=" as const, value: version }], from, until: "now" });
  const state: CompareState = { ...readCompare(""), type: CPU, before: side("1", "now-2h"), after: side("2", "now-1h"), norm: "time", layout: "sides" };
  expect(readCompare(search(compareUrl(state)))).toEqual(state);
});

describe("links of Pyroscope", () => {
  const query = (version: string) => `${CPU}{service_name="shop", version="${version}"}`;
  test("explore", () => {
    const link = `?${new URLSearchParams({ query: query("1"), from: "now-3h", until: "now" })}`;
    expect(readExplore(link)).toMatchObject({ service: "shop", type: CPU, from: "now-3h", filters: [{ name: "version", value: "1" }] });
  });
  test("comparison", () => {
    const link = `?${new URLSearchParams({ leftQuery: query("1"), leftFrom: "1700000000", leftUntil: "1700000600", rightQuery: query("2"), rightFrom: "now-1h", rightUntil: "now" })}`;
    expect(readCompare(link)).toMatchObject({ type: CPU, before: { service: "shop", from: "1700000000", filters: [{ value: "1" }] }, after: { from: "now-1h", filters: [{ value: "2" }] } });
  });
  test("a type alone is a query, too", () => expect(readExplore(`?query=${CPU}`)).toMatchObject({ service: "", type: CPU, filters: [] }));
  test.each(["oops", `${CPU}{version="1`])("a query that is none stands there as labels that cannot be read: %s", (link) => {
    const state = readExplore(`?${new URLSearchParams({ query: link })}`);
    expect(state).toMatchObject({ service: "", filters: [] });
    expect(link).toContain(state.unread);
  });
  test("the single view leads to Explore, with all that it asks for", () => {
    const params = new URLSearchParams({ query: query("1"), from: "now-3h", until: "now" });
    const leads = translated("/", `?${params}`)!;
    expect(leads).toMatch(/^\/explore\?v=1&service=shop&/);
    expect(readExplore(search(leads))).toEqual(readExplore(`?${params}`));
    expect([translated("/", "?v=1&search=query"), translated("/sql", "?query=x"), translated("/", "")]).toEqual([null, null, null]);
  });
});

describe("baselines", () => {
  const state = { service: "shop", type: CPU, filters: [{ name: "version", operator: "=" as const, value: "9" }], from: "now-1h", until: "now" };
  const until = Date.UTC(2026, 7, 8, 12);
  const range = { from: until - 3_600_000, until };
  test.each([
    ["before", "2026-08-08T10:00:00Z"],
    ["yesterday", "2026-08-07T11:00:00Z"],
    ["lastWeek", "2026-08-01T11:00:00Z"],
  ] as const)("%s", (baseline, from) => {
    const sides = earlier(state, range, baseline);
    expect([sides.before.from, sides.after.from]).toEqual([from, "2026-08-08T11:00:00Z"]);
  });
  test("the version before is the one that came up before the newest", () => {
    const seen = [
      { value: "1.9", first: 100, last: until - 5 * 3_600_000 },
      { value: "2.0", first: 200, last: until },
      { value: "", first: 300, last: until },
      { value: "1.8", first: 50, last: 90 },
    ];
    const pair = lastTwo(seen)!;
    expect([pair.old.value, pair.now.value]).toEqual(["1.9", "2.0"]);
    const sides = versionSides(state, range, "version", pair);
    expect(sides.before).toEqual({ service: "shop", filters: [{ name: "version", operator: "=", value: "1.9" }], from: "2026-08-08T06:00:00Z", until: "2026-08-08T07:00:00Z" });
    expect(lastTwo(seen.slice(0, 1))).toBeNull();
  });
  test("a version that came up half-way is not looked for before", () => {
    const deployed = until - 27 * 60_000;
    const sides = versionSides(state, range, "version", { old: { value: "1", first: 0, last: deployed }, now: { value: "2", first: deployed, last: until } });
    expect([sides.before.from, sides.before.until, sides.after.from, sides.after.until]).toEqual(["2026-08-08T10:33:00Z", "2026-08-08T11:33:00Z", "2026-08-08T11:33:00Z", "2026-08-08T12:00:00Z"]);
  });
});
