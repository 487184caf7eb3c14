// The part of the flame graph that is on the screen, and what moves it.

import { type Flame, levelCount, nodeAt, ROOT } from "../profile/flame";

export const ROW_HEIGHT = 20;
/** Narrower than this share of the whole, floating point runs out of digits. */
const LEAST_SPAN = 1e-12;

/** `icicle`: the root is on top and callees hang below it; `flame`: they stand on it. */
export const GROWS = ["icicle", "flame"] as const;
export type Grows = (typeof GROWS)[number];

export interface Viewport {
  /** Left edge and width, as shares of the root. */
  left: number;
  span: number;
  /** CSS pixels from the outer edge of the root's row. */
  scroll: number;
}

export interface Size {
  /** CSS pixels. */
  width: number;
  height: number;
}

export function zoomedTo(flame: Flame, node: number, scroll: number): Viewport {
  const span = Math.max(LEAST_SPAN, flame.width[node]!);
  return node === ROOT || flame.width[node] === 0 ? { left: 0, span: 1, scroll } : { left: flame.x[node]!, span, scroll };
}

export function maxScroll(flame: Flame, size: Size): number {
  return Math.max(0, levelCount(flame) * ROW_HEIGHT - size.height);
}

export function clamped(view: Viewport, flame: Flame, size: Size): Viewport {
  const span = Math.min(1, Math.max(LEAST_SPAN, view.span));
  return {
    span,
    left: Math.min(1 - span, Math.max(0, view.left)),
    scroll: Math.min(maxScroll(flame, size), Math.max(0, view.scroll)),
  };
}

/** Scales around the share that is under `x` pixels, which stays where it is. */
export function scaledAround(view: Viewport, size: Size, x: number, factor: number): Viewport {
  const anchor = view.left + (x / size.width) * view.span;
  const span = Math.min(1, Math.max(LEAST_SPAN, view.span * factor));
  return { ...view, span, left: anchor - (x / size.width) * span };
}

export function hit(flame: Flame, view: Viewport, size: Size, x: number, y: number, grows: Grows = "icicle"): number {
  if (x < 0 || y < 0 || x >= size.width || y >= size.height) return -1;
  const fromRoot = grows === "icicle" ? y : size.height - 1 - y;
  return nodeAt(flame, Math.floor((fromRoot + view.scroll) / ROW_HEIGHT), view.left + (x / size.width) * view.span);
}

/** Upper edge of a level's row. */
export function rowTop(depth: number, view: Viewport, size: Size, grows: Grows): number {
  return grows === "icicle" ? depth * ROW_HEIGHT - view.scroll : size.height - (depth + 1) * ROW_HEIGHT + view.scroll;
}

/** The scroll position that brings a row onto the screen, with one row of air around it. */
export function scrollToRow(depth: number, scroll: number, size: Size): number {
  const top = depth * ROW_HEIGHT;
  if (top < scroll + ROW_HEIGHT) return Math.max(0, top - ROW_HEIGHT);
  if (top + 2 * ROW_HEIGHT > scroll + size.height) return top + 2 * ROW_HEIGHT - size.height;
  return scroll;
}

export function between(a: Viewport, b: Viewport, progress: number): Viewport {
  const mix = (from: number, to: number) => from + (to - from) * progress;
  return { left: mix(a.left, b.left), span: mix(a.span, b.span), scroll: mix(a.scroll, b.scroll) };
}
