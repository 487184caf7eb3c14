// The canvas of the flame graph: what it shows (scene), which part of it (viewport), and when it is
// painted: at most once a frame, and only what changed hands since.

import { type RefObject, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import type { Flame } from "../profile/flame";
import { canvasColors, useTheme } from "../style/theme";
import { text } from "../text";
import { PALETTES } from "./color";
import { type ColorMode, type Coloring, coloringOf } from "./coloring";
import { isWhole, LabelFitter, monospaceMeasure } from "./label";
import { paint, type Scene } from "./paint";
import { between, clamped, type Grows, type Size, type Viewport } from "./viewport";

const FONT_SIZE = 12;
const ZOOM_MS = 160;

export interface Shown {
  flame: Flame;
  colors: ColorMode;
  grows: Grows;
  found: Uint8Array | null;
  selected: number;
  focused: number;
}

export interface Drawing {
  view: RefObject<Viewport>;
  coloring: Coloring;
  /** Moves the viewport at once, or in a short movement that shows where it goes. */
  moveTo: (target: Viewport, how: "at once" | "animated") => void;
}

export function useDrawing(canvas: RefObject<HTMLCanvasElement | null>, size: Size, shown: Shown, onMoved: (view: Viewport) => void): Drawing {
  const theme = useTheme();
  const { flame } = shown;
  const view = useRef<Viewport>({ left: 0, span: 1, scroll: 0 });
  const pending = useRef(0);
  const animation = useRef(0);
  const fitter = useRef<{ ratio: number; font: string; names: string[]; by: LabelFitter } | null>(null);

  const coloring = useMemo(() => coloringOf(flame, shown.colors, PALETTES[theme]), [flame, shown.colors, theme]);
  const scene = useMemo<Scene>(() => {
    const colors = canvasColors();
    return {
      flame,
      palette: PALETTES[theme],
      coloring,
      grows: shown.grows,
      found: null,
      focused: -1,
      selected: -1,
      outline: colors.text,
      accent: colors.accent,
      back: colors.back,
      font: "",
      rootLabel: isWhole(flame) ? text.flame.root : null,
      foldedLabel: text.flame.folded,
    };
  }, [flame, coloring, shown.grows]);

  const draw = () => {
    pending.current = 0;
    const element = canvas.current;
    const context = element?.getContext("2d", { alpha: false });
    if (!element || !context || size.width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(size.width * ratio);
    const height = Math.round(size.height * ratio);
    if (element.width !== width) element.width = width;
    if (element.height !== height) element.height = height;
    if (fitter.current?.ratio !== ratio || fitter.current.names !== flame.names) {
      const family = getComputedStyle(document.documentElement).getPropertyValue("--mono");
      const font = `${FONT_SIZE * ratio}px ${family}`;
      context.font = font;
      const inPixels = monospaceMeasure(context);
      fitter.current = { ratio, font, names: flame.names, by: new LabelFitter(flame.names, (label) => inPixels(label) / ratio) };
    }
    view.current = clamped(view.current, flame, size);
    scene.font = fitter.current.font;
    paint(context, scene, view.current, size, ratio, fitter.current.by);
  };
  const drawRef = useRef(draw);
  drawRef.current = draw;
  const schedule = () => {
    if (pending.current === 0) pending.current = requestAnimationFrame(() => drawRef.current());
  };

  useLayoutEffect(() => {
    scene.found = shown.found;
    scene.focused = shown.focused;
    scene.selected = shown.selected;
    schedule();
  }, [scene, shown.found, shown.focused, shown.selected, size.width, size.height]);

  useEffect(
    () => () => {
      cancelAnimationFrame(pending.current);
      pending.current = 0;
      cancelAnimationFrame(animation.current);
    },
    [],
  );

  const moveTo = (target: Viewport, how: "at once" | "animated") => {
    cancelAnimationFrame(animation.current);
    const goal = clamped(target, flame, size);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (how === "at once" || still) {
      view.current = goal;
      onMoved(goal);
      schedule();
      return;
    }
    const from = view.current;
    const begun = performance.now();
    const step = (now: number) => {
      const progress = Math.min(1, Math.max(0, (now - begun) / ZOOM_MS));
      view.current = between(from, goal, 1 - (1 - progress) ** 3);
      drawRef.current();
      onMoved(view.current);
      if (progress < 1) animation.current = requestAnimationFrame(step);
    };
    animation.current = requestAnimationFrame(step);
  };

  return { view, coloring, moveTo };
}
