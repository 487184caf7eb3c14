import { describe, expect, test } from "vitest";
import { decodeFlame } from "../profile/flame";
import { css, hueOf, type Oklch, PALETTES } from "./color";
import { changeShade, coloringOf, selfShade } from "./coloring";
import { move } from "./keyboard";
import { fitLabel, LabelFitter, visible } from "./label";
import { clamped, hit, rowTop, scaledAround } from "./viewport";
import { diffFlames } from "../profile/diff";
import { readFolded } from "../profile/folded";

const letters = (text: string) => text.length;

test.each([
  [40, "github.com/acme/shop/cart.(*Cart).Total"],
  [32, "…acme/shop/cart.(*Cart).Total"],
  [20, "…cart.(*Cart).Total"],
  [14, "(*Cart).Total"],
  [8, "(*Cart)…"],
  [2, ""],
])("%i letters leave %s", (width, expected) => {
  expect(fitLabel("github.com/acme/shop/cart.(*Cart).Total", "(*Cart).Total", width, letters)).toBe(expected);
});

test("a cut name is remembered, by whole letters", () => {
  let measured = 0;
  const fitter = new LabelFitter(["net/http.(*conn).serve"], (text) => {
    measured++;
    return text.length * 7;
  });
  expect([fitter.name(0, 160), fitter.name(0, 93), fitter.name(0, 20)]).toEqual(["net/http.(*conn).serve", "(*conn).serve", ""]);
  const before = measured;
  expect(fitter.name(0, 95)).toBe("(*conn).serve");
  expect(measured).toBe(before);
});

test("control and direction marks cannot act", () => {
  expect(visible("a\u0000b\u202ec")).toBe("a\ufffdb\ufffdc");
  expect(visible("x".repeat(5000))).toHaveLength(513);
});

/** Contrast after WCAG 2, through OKLab and linear sRGB. */
function luminance({ l, c, h }: Oklch): number {
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const [x, y, z] = [l + 0.3963377774 * a + 0.2158037573 * b, l - 0.1055613458 * a - 0.0638541728 * b, l - 0.0894841775 * a - 1.291485548 * b].map((v) => v ** 3) as [number, number, number];
  const clip = (v: number) => Math.min(1, Math.max(0, v));
  const red = clip(4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z);
  const green = clip(-1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z);
  const blue = clip(-0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
const contrast = (a: Oklch, b: Oklch) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
};

describe.each(["light", "dark"] as const)("%s frames", (theme) => {
  const palette = PALETTES[theme];
  test("have readable text in every hue", () => {
    for (let h = 0; h < 360; h += 15) expect(contrast({ ...palette.frame, h }, palette.text)).toBeGreaterThan(4.5);
    expect(contrast({ ...palette.dimmed, h: 0 }, palette.dimmedText)).toBeGreaterThan(4.5);
    expect(contrast(palette.folded, palette.dimmedText)).toBeGreaterThan(4.5);
  });
  test("have readable text on every step of the scales", () => {
    for (let share = -1; share <= 1; share += 0.125) {
      expect(contrast(changeShade(palette, share), palette.text), `change ${share}`).toBeGreaterThan(4.5);
      expect(contrast(selfShade(palette, Math.abs(share)), palette.text), `self ${share}`).toBeGreaterThan(4.5);
    }
  });
  test("differ in lightness or hue between less and more, for every kind of colour vision", () => {
    const [less, more] = [changeShade(palette, -1), changeShade(palette, 1)];
    expect(Math.abs(less.h - more.h)).toBeGreaterThan(150);
  });
});

test("a library has one hue", () => {
  expect(hueOf("net/http.(*conn).serve")).toBe(hueOf("net/http.Serve"));
  expect(hueOf("main")).toBeNull();
  expect(css({ l: 0.5, c: 0.1, h: 20 })).toBe("oklch(0.5 0.1 20)");
});

const flame = decodeFlame(
  { names: ["total", "a", "b", "c"], levels: [{ values: [0, 10, 0, 0] }, { values: [0, 6, 1, 1, 0, 4, 4, 3] }, { values: [1, 5, 2, 2] }] },
  100,
);
const size = { width: 100, height: 40 };

test("the pointer hits what is drawn there", () => {
  const view = { left: 0, span: 1, scroll: 20 };
  expect([hit(flame, view, size, 10, 5), hit(flame, view, size, 70, 5), hit(flame, view, size, 10, 25), hit(flame, view, size, 90, 25)]).toEqual([1, 2, 3, -1]);
});

test("zooming keeps what is under the pointer, and ends at the edges", () => {
  const view = scaledAround({ left: 0, span: 1, scroll: 0 }, size, 50, 0.5);
  expect(view).toEqual({ left: 0.25, span: 0.5, scroll: 0 });
  expect(clamped({ left: 2, span: 0.5, scroll: 900 }, flame, size)).toEqual({ left: 0.5, span: 0.5, scroll: 20 });
});

test("the arrow keys walk the tree", () => {
  expect([move(flame, 0, "down"), move(flame, 1, "right"), move(flame, 2, "left"), move(flame, 3, "up"), move(flame, 2, "down"), move(flame, 3, "home")]).toEqual([1, 2, 1, 1, 2, 0]);
});

test("a flame grows from its root at the bottom", () => {
  const view = { left: 0, span: 1, scroll: 0 };
  const tall = { width: 100, height: 100 };
  expect([0, 2].map((depth) => rowTop(depth, view, tall, "flame"))).toEqual([80, 40]);
  expect([hit(flame, view, tall, 10, 85, "flame"), hit(flame, view, tall, 70, 65, "flame"), hit(flame, view, tall, 10, 10, "flame")]).toEqual([0, 2, -1]);
});

test("colours tell how a node changed", () => {
  const both = diffFlames(readFolded("a 4\nb 2\nc 5"), readFolded("a 4\nb 4\nd 1"), { before: 1, after: 1 });
  const of = (mode: "growth" | "delta") => Object.fromEntries([...both.name].map((name, node) => [both.names[name], coloringOf(both, mode, PALETTES.dark).of[node]! - 8]));
  expect(of("growth")).toEqual({ total: -1, a: 0, b: 8, c: -8, d: 8 });
  expect(of("delta")).toEqual({ total: -3, a: 0, b: 3, c: -8, d: 2 });
});
