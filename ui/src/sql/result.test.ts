import { expect, test } from "vitest";
import { axisNumber, barsOf, cellText, chartOf, csvOf, kindOfColumn, sorted, type SqlResult } from "./result";

const result = (columns: [string, string][], rows: Record<string, unknown>[]): SqlResult => ({
  columns: columns.map(([name, type]) => ({ name, type })),
  rows,
});

test.each([
  ["bigint", "number"],
  ["integer", "number"],
  ["int", "number"],
  ["ubigint", "number"],
  ["double", "number"],
  ["decimal(20,2)", "number"],
  ["timestamp with time zone", "time"],
  ["date", "time"],
  ["varchar", "text"],
  ["interval", "text"],
  ["map(varchar, varchar)", "text"],
])("%s is a %s", (type, kind) => expect(kindOfColumn(type)).toBe(kind));

test("large numbers come as text and are sorted as numbers, what is empty comes last", () => {
  const found = result([["n", "bigint"]], [{ n: "9007199254740993" }, { n: 5 }, { n: null }, { n: 40 }]);
  const order = (descending: boolean) => sorted(found, { column: "n", descending }).map((row) => row.n);
  expect(order(true)).toEqual(["9007199254740993", 40, 5, null]);
  expect(order(false)).toEqual([5, 40, "9007199254740993", null]);
  expect(sorted(found, null)).toBe(found.rows);
});

test("CSV quotes what needs it", () => {
  const found = result([["a,b", "varchar"], ["c", "varchar"]], [{ "a,b": 'say "x"', c: null }, { "a,b": "two\nlines", c: { k: "v" } }]);
  expect(csvOf(found)).toBe('"a,b",c\r\n"say ""x""",\r\n"two\nlines","{""k"":""v""}"\r\n');
  expect(cellText(["a", 1])).toBe('["a",1]');
});

test("times make lines, texts make bars", () => {
  const row = { t: "2026-08-01T00:00:00Z", f: "main", v: 1 };
  expect(chartOf(result([["f", "varchar"], ["t", "timestamp"], ["v", "double"]], [row]))).toEqual({ kind: "line", over: "t", values: ["v"] });
  expect(chartOf(result([["f", "varchar"], ["v", "double"]], [row]))).toEqual({ kind: "bars", over: "f", values: ["v"] });
  expect(chartOf(result([["v", "double"]], [row]))).toBeNull();
  expect(chartOf(result([["f", "varchar"]], [row]))).toBeNull();
  expect(chartOf(result([["f", "varchar"], ["v", "double"]], []))).toBeNull();
});

test.each([
  [[1, 4], [[0, 0.25], [0, 1]]],
  [[3, -1], [[0.25, 0.75], [0, 0.25]]],
  [[-2, -4], [[0.5, 0.5], [0, 1]]],
  [[0, 0], [[0, 0], [0, 0]]],
])("bars of %j begin at zero", (sizes, expected) => expect(barsOf(sizes).map(({ from, width }) => [from, width])).toEqual(expected));

test.each([
  [[1_000_000_000, 1_200_000_000], ["1B", "1.2B"]],
  [[1000.5, 1001], ["1,000.5", "1,001"]],
  [[-20_000, 0], ["-20,000", "0"]],
  [[0.00012, 0.00014], ["0.00012", "0.00014"]],
])("marks %j of an axis can be told apart", (marks, expected) => expect(marks.map(axisNumber)).toEqual(expected));
