// Which colour each node has: by where its function comes from, by how much it does itself, or by how
// it changed. Decided once a graph, so that painting only looks it up.

import { type Flame, nodeCount, ROOT } from "../profile/flame";
import { css, type FramePalette, hueOf, type Oklch } from "./color";

export const COLOR_MODES = ["package", "self", "growth", "delta"] as const;
/** `growth` is the change relative to the node before, `delta` relative to the whole. */
export type ColorMode = (typeof COLOR_MODES)[number];

export interface Coloring {
  /** Fill styles by colour number. */
  fills: string[];
  /** The same for what a search has not found. */
  dimmed: string[];
  /** The colour number of each node. */
  of: Uint8Array;
  /** For the modes with a scale: what its ends stand for. */
  scale: { low: number; high: number } | null;
}

const HUES = 24;
const NEUTRAL = HUES;
const SELF_STEPS = 12;
/** Steps on each side of no change. */
export const CHANGE_STEPS = 8;
/** Doubled, or gone. */
const FULL_GROWTH = 1;

export function coloringOf(flame: Flame, mode: ColorMode, palette: FramePalette): Coloring {
  if (mode === "self") return bySelf(flame, palette);
  if (mode !== "package" && flame.sides) return byChange(flame, mode, palette);
  return byPackage(flame, palette);
}

function byPackage(flame: Flame, palette: FramePalette): Coloring {
  const hues = Array.from({ length: HUES }, (_, i) => i * (360 / HUES));
  const shades = (shade: { l: number; c: number }) => [...hues.map((h) => css({ ...shade, h })), css({ l: shade.l, c: shade.c * 0.15, h: 0 })];
  const ofName = Uint8Array.from(flame.names, (name) => {
    const hue = hueOf(name);
    return hue === null ? NEUTRAL : Math.round(hue / (360 / HUES)) % HUES;
  });
  const of = Uint8Array.from(flame.name, (name) => ofName[name]!);
  return { fills: shades(palette.frame), dimmed: shades(palette.dimmed), of, scale: null };
}

/** From pale to ember by the node's own share of the largest own share. */
function bySelf(flame: Flame, palette: FramePalette): Coloring {
  let most = 0;
  for (let node = 1; node < nodeCount(flame); node++) most = Math.max(most, Math.abs(flame.self[node]!));
  const of = new Uint8Array(nodeCount(flame));
  for (let node = 0; node < of.length; node++) {
    // The square root lets small shares differ.
    of[node] = most === 0 ? 0 : Math.round(Math.sqrt(Math.abs(flame.self[node]!) / most) * (SELF_STEPS - 1));
  }
  const fills = Array.from({ length: SELF_STEPS }, (_, step) => css(selfShade(palette, step / (SELF_STEPS - 1))));
  return { fills, dimmed: fills.map(() => css({ ...palette.dimmed, h: 60 })), of, scale: { low: 0, high: most } };
}

export function selfShade(palette: FramePalette, share: number): Oklch {
  return between(palette.unchanged, palette.hot, share);
}

function byChange(flame: Flame, mode: "growth" | "delta", palette: FramePalette): Coloring {
  const { before, after } = flame.sides!;
  const nodes = nodeCount(flame);
  let most = 0;
  if (mode === "delta") {
    for (let node = 1; node < nodes; node++) most = Math.max(most, Math.abs(after.total[node]! - before.total[node]!));
  } else most = FULL_GROWTH;
  const of = new Uint8Array(nodes);
  for (let node = 0; node < nodes; node++) {
    const delta = after.total[node]! - before.total[node]!;
    const base = Math.abs(before.total[node]!);
    const change = mode === "delta" ? delta : base === 0 ? Math.sign(delta) : delta / base;
    const share = most === 0 ? 0 : Math.max(-1, Math.min(1, change / most));
    of[node] = CHANGE_STEPS + Math.round(share * CHANGE_STEPS);
  }
  const fills = Array.from({ length: 2 * CHANGE_STEPS + 1 }, (_, step) => css(changeShade(palette, step / CHANGE_STEPS - 1)));
  const whole = Math.abs(after.total[ROOT]!);
  const end = mode === "delta" ? (whole === 0 ? 0 : most / whole) : FULL_GROWTH;
  return { fills, dimmed: fills.map(() => css({ ...palette.dimmed, h: 60 })), of, scale: { low: -end, high: end } };
}

/** Blue for less, orange for more: color-blind people tell these apart. */
export function changeShade(palette: FramePalette, share: number): Oklch {
  return between(palette.unchanged, share < 0 ? palette.less : palette.more, Math.abs(share));
}

function between(from: Oklch, to: Oklch, share: number): Oklch {
  const mix = (a: number, b: number) => a + (b - a) * share;
  return { l: round(mix(from.l, to.l)), c: round(mix(from.c, to.c)), h: to.h };
}

const round = (value: number) => Math.round(value * 1000) / 1000;
