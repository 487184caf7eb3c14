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
  },
  dark: {
    frame: { l: 0.44, c: 0.075 },
    dimmed: { l: 0.27, c: 0.012 },
    text: { l: 0.97, c: 0.006, h: 75 },
    dimmedText: { l: 0.68, c: 0.01, h: 75 },
    folded: { l: 0.26, c: 0.004, h: 60 },
    foldedStripe: { l: 0.38, c: 0.005, h: 60 },
    root: { l: 0.36, c: 0.008, h: 60 },
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

/** Fill styles by name index: as found, and as not found by the search. */
export interface FrameColors {
  frame: string[];
  dimmed: string[];
}

export function frameColors(names: string[], palette: FramePalette): FrameColors {
  const cache = new Map<number, { frame: string; dimmed: string }>();
  const frame = new Array<string>(names.length);
  const dimmed = new Array<string>(names.length);
  names.forEach((name, i) => {
    const hue = hueOf(name) ?? -1;
    let colors = cache.get(hue);
    if (!colors) {
      const neutral = hue < 0 ? 0.15 : 1;
      const shade = (s: { l: number; c: number }) => css({ l: s.l, c: s.c * neutral, h: Math.max(0, hue) });
      colors = { frame: shade(palette.frame), dimmed: shade(palette.dimmed) };
      cache.set(hue, colors);
    }
    frame[i] = colors.frame;
    dimmed[i] = colors.dimmed;
  });
  return { frame, dimmed };
}
