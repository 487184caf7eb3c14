import { describe, expect, test } from "vitest";
import { changeOf, diffFlames, diffTable, sampleWeight, scaleOf, significance } from "./diff";
import { type Flame, nameOf } from "./flame";
import { readFolded, writeFolded } from "./folded";
import { hashName } from "./path";
import { calleesOf, callersOf, PLAIN, reshape, type Shape } from "./reshape";
import { topTable } from "./table";

const shown = (flame: Flame) => writeFolded(flame).trim().split("\n").filter(Boolean);
const hash = hashName;

test("folded stacks are read and written", () => {
  const flame = readFolded("b;c 2\n# a remark\r\na 1\nb 3\nb;c 4\n\n");
  expect(shown(flame)).toEqual(["a 1", "b 3", "b;c 6"]);
  expect(flame.total[0]).toBe(10);
  expect(() => readFolded("a;b")).toThrow("line 1");
  expect(readFolded("").total[0]).toBe(0);
});

test("names cannot break the folded form", () => {
  expect(writeFolded(diffFlames(readFolded(""), readFolded("a b 1"), { before: 1, after: 1 }))).toBe("a b 1\n");
});

describe("reshaping", () => {
  const input = "main;serve;parse;alloc 5\nmain;serve;serve;render 3\nmain;gc;alloc 2\nmain 1";
  test.each<[string, Partial<Shape>, string[]]>([
    ["nothing", {}, ["main 1", "main;gc;alloc 2", "main;serve;parse;alloc 5", "main;serve;serve;render 3"]],
    ["a focus", { focus: hash("alloc") }, ["alloc 7"]],
    ["a focus on the outer of two", { focus: hash("serve") }, ["serve;parse;alloc 5", "serve;serve;render 3"]],
    ["hiding", { hide: [hash("serve")] }, ["main 1", "main;gc;alloc 2"]],
    ["merging", { merge: [hash("alloc"), hash("serve")] }, ["main 1", "main;gc 2", "main;parse 5", "main;render 3"]],
    ["collapsing", { collapse: "collapse" }, ["main 1", "main;gc;alloc 2", "main;serve;parse;alloc 5", "main;serve;render 3"]],
    ["a focus that is merged too", { focus: hash("alloc"), merge: [hash("alloc")] }, ["alloc 7"]],
    ["a function that is not there", { focus: hash("nobody") }, []],
  ])("%s", (_, shape, expected) => {
    const flame = reshape(readFolded(input), { ...PLAIN, ...shape });
    expect(shown(flame)).toEqual(expected);
    const sum = shown(flame).reduce((all, line) => all + Number(line.split(" ").at(-1)), 0);
    expect(flame.total[0]).toBe(sum);
  });

  test.each<[Shape["group"], string[]]>([
    ["package", ["main;net/http 3", "main;net/http;github.com/acme/shop/cart 2"]],
    ["library", ["main;github.com/acme/shop 2", "main;net/http 3"].map((line) => line.replace("main;github", "main;net;github").replace("net/http", "net"))],
    ["file", ["main;net/http 3", "main;net/http;cart.go 2"]],
  ])("groups by %s", (group, expected) => {
    const flame = readFolded("main;net/http.Serve;net/http.(*conn).serve 3\nmain;net/http.Serve;github.com/acme/shop/cart.Total 2");
    const files = new Map([["github.com/acme/shop/cart.Total", "cart.go"]]);
    expect(shown(reshape(flame, { ...PLAIN, group }, files)).sort()).toEqual(expected.sort());
  });

  test("callers and callees count each stack once", () => {
    const flame = readFolded("a;f;f;x 1\nb;f;y 2\na;c;f 4\nb;d 8");
    const f = flame.names.indexOf("f");
    expect(shown(callersOf(flame, f))).toEqual(["a 1", "b 2", "c;a 4"]);
    expect(shown(calleesOf(flame, f))).toEqual(["f;x 1", "y 2"]);
    expect([callersOf(flame, f).total[0], calleesOf(flame, f).total[0]]).toEqual([7, 7]);
    expect(topTable(flame).find((row) => row.name === f)?.total).toBe(7);
  });
});

test("of too many callers the heaviest are told apart, and the sum stays", () => {
  const flame = readFolded("a;x;f 1\nb;y;f 8\nc;z;f 2");
  const callers = callersOf(flame, flame.names.indexOf("f"), 3);
  expect(shown(callers)).toEqual(["folded 3", "y;b 8"]);
  expect([callers.total[0], callers.folded.filter(Boolean).length]).toEqual([11, 1]);
});

describe("differences", () => {
  const before = readFolded("main;old 6\nmain;work 4");
  const after = readFolded("main;work 12\nmain;new 8");

  test("each node knows both sides", () => {
    const flame = diffFlames(before, after, { before: 2, after: 1 });
    const rows = Array.from(flame.total, (total, node) => [nameOf(flame, node), total, flame.sides!.before.total[node], flame.sides!.after.total[node]]);
    expect(rows).toEqual([
      ["total", 40, 20, 20],
      ["main", 40, 20, 20],
      ["new", 8, 0, 8],
      ["old", 12, 12, 0],
      ["work", 20, 8, 12],
    ]);
  });

  test("are reshaped like any other graph", () => {
    const flame = reshape(diffFlames(before, after, { before: 1, after: 1 }), { ...PLAIN, hide: [hash("old")] });
    expect([flame.sides!.before.total[0], flame.sides!.after.total[0]]).toEqual([4, 20]);
  });

  test("a table says what changed, and whether by chance", () => {
    const rows = diffTable(diffFlames(before, after, { before: 1, after: 1 }), { before: 1, after: 1 });
    const work = rows.find((row) => before.names.includes("work") && row.total.before === 4)!;
    expect(work.total).toEqual({ before: 4, after: 12, delta: 8, growth: 2 });
    expect(work.sigma).toBeCloseTo(2);
    expect(changeOf(0, 8).growth).toBeNull();
    expect(significance(changeOf(0, 0), { before: 1, after: 1 })).toBe(0);
  });

  test.each([
    ["a 30000000\nb 20000000", "nanoseconds", 10_000_000],
    ["a 3\nb 2", "count", 1],
    ["a 4096\nb 2048", "bytes", 524_288],
    ["", "count", 0],
  ])("a sample of %j in %s weighs %d", (input, unit, expected) => {
    expect(sampleWeight(readFolded(input), unit)).toBe(expected);
  });

  test.each([
    ["total", { before: 2, after: 1 }],
    ["time", { before: 6, after: 1 }],
    ["none", { before: 1, after: 1 }],
  ] as const)("normalised by %s", (norm, expected) => {
    expect(scaleOf(norm, { total: 10, ms: 100 }, { total: 20, ms: 600 })).toEqual(expected);
    expect(scaleOf(norm, { total: 0, ms: 0 }, { total: 20, ms: 600 })).toEqual({ before: 1, after: 1 });
  });
});
