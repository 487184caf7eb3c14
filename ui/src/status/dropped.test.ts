import { expect, test } from "vitest";
import { agoOf, labelsOf } from "./dropped";

test("times are differences, and never negative", () => {
  expect(agoOf("2026-08-01T12:00:00Z", "2026-08-01T12:00:02.5Z")).toBe(2.5e9);
  expect(agoOf("2026-08-01T12:00:02Z", "2026-08-01T12:00:00Z")).toBe(0);
  expect(agoOf("never", "2026-08-01T12:00:00Z")).toBe(0);
});

test("labels are a selector", () => {
  expect(labelsOf({ service_name: "shop", pod: 'a"b' })).toBe('{service_name="shop", pod="a\\"b"}');
  expect(labelsOf({})).toBe("");
});
