// Frame colours: the hue tells the library, lightness and chroma are the same for all, so that no
// frame shouts and the text is readable on each.

import { hashName } from "../profile/path";
import { library, splitSymbol } from "../profile/symbol";
import type { Theme } from "../style/theme";

export interface Oklch {
  l: number;
  c: number;
  h: number;
}

export interface FramePalette {
  frame: { l: number; c: number };
  dimmed: { l: number; c: number };
  text: Oklch;
  dimmedText: Oklch;
  folded: Oklch;
  foldedStripe: Oklch;
  root: Oklch;
  /** Ends and middle of the scales by change and by self. */
  unchanged: Oklch;
  less: Oklch;
  more: Oklch;
  hot: Oklch;
}

export const PALETTES: Record<Theme, FramePalette> = {
  light: {
    frame: { l: 0.84, c: 0.085 },
    dimmed: { l: 0.94, c: 0.012 },
    text: { l: 0.22, c: 0.02, h: 60 },
    dimmedText: { l: 0.48, c: 0.01, h: 60 },
    folded: { l: 0.93, c: 0.003, h: 60 },
    foldedStripe: { l: 0.8, c: 0.004, h: 60 },
    root: { l: 0.89, c: 0.008, h: 60 },
    unchanged: { l: 0.92, c: 0.006, h: 60 },
    less: { l: 0.72, c: 0.13, h: 248 },
    more: { l: 0.74, c: 0.15, h: 55 },
    hot: { l: 0.72, c: 0.155, h: 45 },
  },
  dark: {
    frame: { l: 0.44, c: 0.075 },
    dimmed: { l: 0.27, c: 0.012 },
    text: { l: 0.97, c: 0.006, h: 75 },
    dimmedText: { l: 0.68, c: 0.01, h: 75 },
    folded: { l: 0.26, c: 0.004, h: 60 },
    foldedStripe: { l: 0.38, c: 0.005, h: 60 },
    root: { l: 0.36, c: 0.008, h: 60 },
    unchanged: { l: 0.32, c: 0.006, h: 60 },
    less: { l: 0.5, c: 0.13, h: 248 },
    more: { l: 0.53, c: 0.125, h: 52 },
    hot: { l: 0.53, c: 0.13, h: 45 },
  },
};

const HUES = 24;

/** One of 24 evenly spread hues; plain functions without a package get none. */
export function hueOf(name: string): number | null {
  const { origin } = splitSymbol(name);
  if (origin === "") return null;
  return (parseInt(hashName(library(origin)), 36) % HUES) * (360 / HUES);
}

export function css({ l, c, h }: Oklch): string {
  return `oklch(${l} ${c} ${h})`;
}

/** A CSS colour as hexadecimal digits, read back from a painted pixel. */
export function hexOf(color: string): string {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  if (!context) return "#888888";
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [r = 0, g = 0, b = 0] = context.getImageData(0, 0, 1, 1).data;
  return `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
