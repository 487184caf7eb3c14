import { expect, test } from "vitest";
import { formatRate, formatValue, growthName } from "./units";

test.each([
  [1.67e-11, "cores", "< 1 µcore"],
  [-1.67e-11, "cores", "> -1 µcore"],
  [2.5e-6, "cores", "2.5 µcores"],
  [1.67e-5, "cores", "0.0167 millicores"],
  [0.0042, "cores", "4.2 millicores"],
  [0.5, "cores", "0.5 cores"],
  [1, "cores", "1 core"],
  [0, "cores", "0 cores"],
  [1.67e-8, "count/s", "< 0.001/s"],
  [1.67e-8, "bytes/s", "< 0.001 B/s"],
  [1536, "bytes", "1.5 KiB"],
  [1010, "bytes", "1010 B"],
  [1010 * 1024, "bytes", "0.986 MiB"],
  [1023.9 * 1024, "bytes", "1 MiB"],
  [0.0021, "time/s", "2.1 ms/s"],
] as const)("%d %s reads as %s", (value, rate, expected) => expect(formatRate(value, rate)).toBe(expected));

test("no value is written with an exponent", () => {
  for (const unit of ["nanoseconds", "bytes", "count"]) {
    for (let power = -12; power <= 18; power++) expect(formatValue(1.67 * 10 ** power, unit)).not.toMatch(/e[-+]/);
  }
});

test.each([
  [-2, 6, "sign changed"],
  [6, -2, "sign changed"],
  [-2, -6, "-200 %"],
  [2, 6, "3 ×"],
  [2, 0, "gone"],
  [0, -2, "new"],
])("from %d to %d reads as %s", (before, after, expected) => {
  expect(growthName({ before, after, growth: before === 0 ? null : (after - before) / Math.abs(before) })).toBe(expected);
});
