// The flame graph: a canvas of the viewport's size, a tree for screen readers beside it, and the
// pointer and keyboard that move both.

import { type KeyboardEvent, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "react";
import { type Flame, levelCount, nodeCount, ROOT } from "../profile/flame";
import type { SearchResult } from "../profile/search";
import { canvasColors, useTheme } from "../style/theme";
import { text } from "../text";
import { AccessibleTree, treeItemId } from "./AccessibleTree";
import { frameColors, PALETTES } from "./color";
import "./flamegraph.css";
import { MOVES, move } from "./keyboard";
import { monospaceMeasure, type Measure, ShortNames } from "./label";
import { paint, type Scene } from "./paint";
import { Tooltip } from "./Tooltip";
import { useElementSize } from "./use-element-size";
import { between, clamped, hit, maxScroll, ROW_HEIGHT, scaledAround, scrollToRow, type Viewport, zoomedTo } from "./viewport";

const FONT_SIZE = 12;
const ZOOM_MS = 160;
/** A wheel notch of 100 pixels zooms by a quarter. */
const WHEEL_ZOOM = 1.0022;
const DRAG_THRESHOLD = 4;

export interface FlameGraphProps {
  flame: Flame;
  sampleUnit: string;
  search: SearchResult | null;
  zoomed: number;
  /** Name index that another view has selected, or -1. */
  selected: number;
  onZoom: (node: number) => void;
  onSearch: () => void;
}

interface Hover {
  node: number;
  x: number;
  y: number;
}

export function FlameGraph({ flame, sampleUnit, search, zoomed, selected, onZoom, onSearch }: FlameGraphProps) {
  const treeId = useId();
  const theme = useTheme();
  const [frame, size] = useElementSize<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const [focused, setFocused] = useState(zoomed);
  const [scroll, setScroll] = useState(0);
  const [hasKeyboard, setHasKeyboard] = useState(false);
  const view = useRef<Viewport>({ left: 0, span: 1, scroll: 0 });
  const drag = useRef<{ x: number; y: number; from: Viewport; moved: boolean } | null>(null);
  const pending = useRef(0);
  const animation = useRef(0);

  const scene = useMemo<Scene>(() => {
    const palette = PALETTES[theme];
    const colors = canvasColors();
    return {
      flame,
      palette,
      colors: frameColors(flame.names, palette),
      shortNames: new ShortNames(flame.names),
      found: null,
      hovered: -1,
      focused: -1,
      selected: -1,
      outline: colors.text,
      back: colors.back,
      font: "",
      rootLabel: text.flame.root,
      foldedLabel: text.flame.folded,
    };
  }, [flame, theme]);

  const measure = useRef<{ ratio: number; font: string; by: Measure } | null>(null);
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
    if (measure.current?.ratio !== ratio) {
      const family = getComputedStyle(document.documentElement).getPropertyValue("--mono");
      const font = `${FONT_SIZE * ratio}px ${family}`;
      context.font = font;
      const inPixels = monospaceMeasure(context);
      measure.current = { ratio, font, by: (label) => inPixels(label) / ratio };
    }
    view.current = clamped(view.current, flame, size);
    scene.font = measure.current.font;
    paint(context, scene, view.current, size, ratio, measure.current.by);
  };
  const drawRef = useRef(draw);
  drawRef.current = draw;
  const schedule = () => {
    if (pending.current === 0) pending.current = requestAnimationFrame(() => drawRef.current());
  };

  useLayoutEffect(() => {
    scene.found = search?.names ?? null;
    scene.hovered = hover?.node ?? -1;
    scene.focused = hasKeyboard ? focused : -1;
    scene.selected = selected;
    schedule();
  });

  const moveTo = (target: Viewport, animated: boolean) => {
    cancelAnimationFrame(animation.current);
    const goal = clamped(target, flame, size);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!animated || still) {
      view.current = goal;
      setScroll(goal.scroll);
      schedule();
      return;
    }
    const from = view.current;
    const begun = performance.now();
    const step = (now: number) => {
      const progress = Math.min(1, Math.max(0, (now - begun) / ZOOM_MS));
      view.current = between(from, goal, 1 - (1 - progress) ** 3);
      drawRef.current();
      if (progress < 1) animation.current = requestAnimationFrame(step);
      else setScroll(goal.scroll);
    };
    animation.current = requestAnimationFrame(step);
  };

  // New data keeps no place of the old; another zoom of the same data is shown as a movement.
  const shownFlame = useRef<Flame | null>(null);
  useLayoutEffect(() => {
    if (size.width === 0) return;
    const isNew = shownFlame.current !== flame;
    shownFlame.current = flame;
    setFocused(zoomed);
    setHover(null);
    const row = scrollToRow(flame.depth[zoomed]!, isNew ? 0 : view.current.scroll, size);
    moveTo(zoomedTo(flame, zoomed, zoomed === ROOT ? 0 : row), !isNew);
  }, [flame, zoomed, size.width === 0]);

  useEffect(
    () => () => {
      cancelAnimationFrame(pending.current);
      pending.current = 0;
      cancelAnimationFrame(animation.current);
    },
    [],
  );

  // React listens to wheel passively, but zooming must keep the page from scrolling.
  const onWheel = useRef<(event: WheelEvent) => void>(() => {});
  onWheel.current = (event) => {
    const box = frame.current!.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      moveTo(scaledAround(view.current, size, event.clientX - box.left, WHEEL_ZOOM ** event.deltaY), false);
      return;
    }
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    const down = event.shiftKey ? 0 : event.deltaY;
    const goal = clamped(
      { ...view.current, left: view.current.left + (sideways / size.width) * view.current.span, scroll: view.current.scroll + down },
      flame,
      size,
    );
    // At the end of the graph the page scrolls on.
    if (goal.scroll !== view.current.scroll || goal.left !== view.current.left) {
      event.preventDefault();
      moveTo(goal, false);
    }
  };
  useEffect(() => {
    const element = frame.current;
    const listener = (event: WheelEvent) => onWheel.current(event);
    element?.addEventListener("wheel", listener, { passive: false });
    return () => element?.removeEventListener("wheel", listener);
  }, [frame]);

  const at = (event: { clientX: number; clientY: number }) => {
    const box = frame.current!.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    return { x, y, node: hit(flame, view.current, size, x, y) };
  };

  const focusNode = (node: number) => {
    setFocused(node);
    setHover(null);
    const right = flame.x[node]! + flame.width[node]!;
    const inside = flame.x[node]! >= view.current.left - 1e-9 && right <= view.current.left + view.current.span + 1e-9;
    const scroll = scrollToRow(flame.depth[node]!, view.current.scroll, size);
    moveTo(inside || flame.width[node]! > view.current.span ? { ...view.current, scroll } : { ...view.current, scroll, left: flame.x[node]! }, false);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = MOVES[event.key];
    if (direction) focusNode(move(flame, focused, direction));
    else if (event.key === "Enter" || event.key === " ") onZoom(focused);
    else if (event.key === "Escape") onZoom(zoomed === ROOT ? ROOT : Math.max(ROOT, flame.parent[zoomed]!));
    else if (event.key === "/") onSearch();
    else return;
    event.preventDefault();
  };

  const scrollable = maxScroll(flame, size);
  const wanted = levelCount(flame) * ROW_HEIGHT;
  return (
    <div className="flamegraph">
      <div
        ref={frame}
        className="flamegraph-frame"
        style={{ height: `clamp(240px, ${wanted + 8}px, max(320px, calc(100vh - 220px)))` }}
        role="tree"
        aria-label={text.flame.label}
        aria-description={text.flame.help}
        aria-activedescendant={treeItemId(treeId, focused)}
        tabIndex={0}
        data-nodes={nodeCount(flame)}
        onKeyDown={onKeyDown}
        onFocus={(event) => setHasKeyboard(event.currentTarget.matches(":focus-visible"))}
        onBlur={() => setHasKeyboard(false)}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          drag.current = { x: event.clientX, y: event.clientY, from: view.current, moved: false };
        }}
        onPointerMove={(event) => {
          const held = drag.current;
          if (held && (event.buttons & 1) === 1 && event.pointerType !== "touch") {
            const dx = event.clientX - held.x;
            const dy = event.clientY - held.y;
            if (!held.moved && Math.hypot(dx, dy) < DRAG_THRESHOLD) return;
            held.moved = true;
            event.currentTarget.setPointerCapture(event.pointerId);
            setHover(null);
            moveTo({ ...held.from, left: held.from.left - (dx / size.width) * held.from.span, scroll: held.from.scroll - dy }, false);
            return;
          }
          const { x, y, node } = at(event);
          setHover(node < 0 ? null : { node, x, y });
        }}
        onPointerLeave={() => setHover(null)}
        onClick={(event) => {
          const moved = drag.current?.moved;
          drag.current = null;
          if (moved) return;
          const { node } = at(event);
          if (node >= 0) onZoom(node);
        }}
      >
        <canvas ref={canvas} className="flamegraph-canvas" aria-hidden="true" />
        {scrollable > 0 && (
          <div
            className="flamegraph-scrollbar"
            style={{
              top: `${(scroll / wanted) * 100}%`,
              height: `${(size.height / wanted) * 100}%`,
            }}
          />
        )}
        <AccessibleTree id={treeId} flame={flame} focused={focused} sampleUnit={sampleUnit} onZoom={onZoom} />
        {hover && <Tooltip flame={flame} node={hover.node} x={hover.x} y={hover.y} size={size} zoomed={zoomed} sampleUnit={sampleUnit} />}
      </div>
    </div>
  );
}

