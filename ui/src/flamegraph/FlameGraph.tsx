// The flame graph: a canvas of the viewport's size, a tree for screen readers beside it, and the
// pointer and keyboard that move both.

import { type KeyboardEvent, type PointerEvent, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { type Flame, levelCount, nodeCount, ROOT } from "../profile/flame";
import type { Modules } from "../profile/pprof";
import type { SearchResult } from "../profile/search";
import { text } from "../text";
import { AccessibleTree, treeItemId } from "./AccessibleTree";
import type { ColorMode } from "./coloring";
import "./flamegraph.css";
import { MOVES, move } from "./keyboard";
import { frameName } from "./label";
import { Legend } from "./Legend";
import { Menu, type MenuItem } from "./Menu";
import { Minimap, type MinimapHandle } from "./Minimap";
import { Tooltip } from "./Tooltip";
import { useDrawing } from "./use-drawing";
import { useElementSize } from "./use-element-size";
import { clamped, type Grows, hit, ROW_HEIGHT, rowTop, scaledAround, scrollToRow, type Viewport, zoomedTo } from "./viewport";

/** A wheel notch of 100 pixels zooms by a quarter. */
const WHEEL_ZOOM = 1.0022;
const DRAG_THRESHOLD = 4;
const LONG_PRESS_MS = 500;
/** Smaller graphs are seen at a glance and need no map. */
const MAPPED_NODES = 300;

export interface FlameGraphProps {
  flame: Flame;
  sampleUnit: string;
  /** Its accessible name. */
  label?: string;
  /** Where the frames are that have no name. */
  modules?: Modules | undefined;
  search?: SearchResult | null;
  zoomed: number;
  /** Name index that is selected, or -1. */
  selected?: number;
  colors?: ColorMode;
  grows?: Grows;
  /** Node that a graph beside this one has under the pointer, or -1. */
  linked?: number;
  height?: string;
  /** `compact` leaves out what stands around the graph: map and legend. */
  chrome?: "full" | "compact";
  onZoom: (node: number) => void;
  onSearch?: () => void;
  onHover?: (node: number) => void;
  actions?: (node: number) => MenuItem[];
}

interface Hover {
  node: number;
  x: number;
  y: number;
}

export function FlameGraph(props: FlameGraphProps) {
  const { flame, sampleUnit, zoomed, onZoom, grows = "icicle", colors = "package", selected = -1, linked = -1 } = props;
  const treeId = useId();
  const [frame, size] = useElementSize<HTMLDivElement>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const minimap = useRef<MinimapHandle | null>(null);
  const outline = useRef<HTMLDivElement>(null);
  const [hover, setHoverState] = useState<Hover | null>(null);
  const [menu, setMenu] = useState<Hover | null>(null);
  const [focused, setFocused] = useState(zoomed);
  const [hasKeyboard, setHasKeyboard] = useState(false);
  const drag = useRef<{ x: number; y: number; from: Viewport; moved: boolean } | null>(null);
  const press = useRef(0);

  const marked = hover?.node ?? linked;
  // The frame under the pointer is outlined by an element: nothing is painted anew for a hover.
  const placeOutline = (view: Viewport) => {
    const element = outline.current;
    if (!element) return;
    const shown = marked >= 0 && marked < nodeCount(flame);
    element.hidden = !shown;
    if (!shown) return;
    const left = Math.max(-4, ((flame.x[marked]! - view.left) / view.span) * size.width);
    const right = Math.min(size.width + 4, ((flame.x[marked]! + flame.width[marked]! - view.left) / view.span) * size.width);
    element.style.transform = `translate(${left}px, ${rowTop(flame.depth[marked]!, view, size, grows)}px)`;
    element.style.width = `${Math.max(2, right - left)}px`;
  };
  const { view, coloring, moveTo } = useDrawing(
    canvas,
    size,
    { flame, colors, grows, found: props.search?.names ?? null, selected, focused: hasKeyboard ? focused : -1 },
    (now) => {
      minimap.current?.show(now);
      placeOutline(now);
    },
  );
  useLayoutEffect(() => placeOutline(view.current));

  const setHover = (next: Hover | null) => {
    if ((next?.node ?? -1) !== (hover?.node ?? -1)) props.onHover?.(next?.node ?? -1);
    setHoverState(next);
  };

  // New data keeps no place of the old; another zoom of the same data is shown as a movement.
  const shownFlame = useRef<Flame | null>(null);
  useLayoutEffect(() => {
    if (size.width === 0) return;
    const isNew = shownFlame.current !== flame;
    shownFlame.current = flame;
    setFocused(zoomed);
    setHoverState(null);
    const row = scrollToRow(flame.depth[zoomed]!, isNew ? 0 : view.current.scroll, size);
    moveTo(zoomedTo(flame, zoomed, zoomed === ROOT ? 0 : row), isNew ? "at once" : "animated");
  }, [flame, zoomed, grows, size.width === 0]);

  // React listens to wheel passively, but zooming must keep the page from scrolling.
  const onWheel = useRef<(event: WheelEvent) => void>(() => {});
  onWheel.current = (event) => {
    const box = frame.current!.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      moveTo(scaledAround(view.current, size, event.clientX - box.left, WHEEL_ZOOM ** event.deltaY), "at once");
      return;
    }
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    const down = (event.shiftKey ? 0 : event.deltaY) * (grows === "icicle" ? 1 : -1);
    const goal = clamped(
      { ...view.current, left: view.current.left + (sideways / size.width) * view.current.span, scroll: view.current.scroll + down },
      flame,
      size,
    );
    // At the end of the graph the page scrolls on.
    if (goal.scroll !== view.current.scroll || goal.left !== view.current.left) {
      event.preventDefault();
      moveTo(goal, "at once");
    }
  };
  useEffect(() => {
    const element = frame.current;
    const listener = (event: WheelEvent) => onWheel.current(event);
    element?.addEventListener("wheel", listener, { passive: false });
    return () => element?.removeEventListener("wheel", listener);
  }, [frame]);

  const at = (event: { clientX: number; clientY: number }): Hover => {
    const box = frame.current!.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    return { x, y, node: hit(flame, view.current, size, x, y, grows) };
  };

  const openMenu = (node: number, x: number, y: number) => {
    if (node < 0 || !props.actions || props.actions(node).length === 0) return;
    setHover(null);
    setMenu({ node, x, y });
  };

  const focusNode = (node: number) => {
    setFocused(node);
    setHover(null);
    const right = flame.x[node]! + flame.width[node]!;
    const inside = flame.x[node]! >= view.current.left - 1e-9 && right <= view.current.left + view.current.span + 1e-9;
    const scroll = scrollToRow(flame.depth[node]!, view.current.scroll, size);
    moveTo(inside || flame.width[node]! > view.current.span ? { ...view.current, scroll } : { ...view.current, scroll, left: flame.x[node]! }, "at once");
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const wantsMenu = event.key === "ContextMenu" || (event.shiftKey && event.key === "F10");
    if (wantsMenu) {
      const box = frame.current!.getBoundingClientRect();
      const left = ((flame.x[focused]! - view.current.left) / view.current.span) * size.width;
      openMenu(focused, box.left + Math.max(0, left) + 8, box.top + rowTop(flame.depth[focused]!, view.current, size, grows) + ROW_HEIGHT);
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = MOVES[event.key];
    const turned = grows === "flame" && direction === "up" ? "down" : grows === "flame" && direction === "down" ? "up" : direction;
    if (turned) focusNode(move(flame, focused, turned));
    else if (event.key === "Enter" || event.key === " ") onZoom(focused);
    else if (event.key === "Escape") onZoom(zoomed === ROOT ? ROOT : Math.max(ROOT, flame.parent[zoomed]!));
    else if (event.key === "+" || event.key === "-") moveTo(scaledAround(view.current, size, size.width / 2, event.key === "+" ? 0.7 : 1 / 0.7), "at once");
    else if (event.key === "/" && props.onSearch) props.onSearch();
    else return;
    event.preventDefault();
  };

  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    const held = drag.current;
    if (held && (event.buttons & 1) === 1) {
      const dx = event.clientX - held.x;
      const dy = (event.clientY - held.y) * (grows === "icicle" ? 1 : -1);
      if (!held.moved && Math.hypot(dx, dy) < DRAG_THRESHOLD) return;
      window.clearTimeout(press.current);
      held.moved = true;
      // A finger scrolls the page up and down; sideways it pans.
      if (event.pointerType !== "touch") event.currentTarget.setPointerCapture(event.pointerId);
      setHover(null);
      const scroll = event.pointerType === "touch" ? held.from.scroll : held.from.scroll - dy;
      moveTo({ ...held.from, left: held.from.left - (dx / size.width) * held.from.span, scroll }, "at once");
      return;
    }
    const under = at(event);
    setHover(under.node < 0 ? null : under);
  };

  const wanted = levelCount(flame) * ROW_HEIGHT;
  const height = props.height ?? `clamp(160px, ${wanted}px, max(320px, calc(100vh - 280px)))`;
  const full = props.chrome !== "compact";
  return (
    <div className="flamegraph">
      {full && nodeCount(flame) > MAPPED_NODES && (
        <Minimap
          flame={flame}
          coloring={coloring}
          grows={grows}
          size={size}
          view={view}
          handle={minimap}
          onMove={(target) => moveTo(target, "at once")}
        />
      )}
      <div
        ref={frame}
        className="flamegraph-frame"
        style={{ height }}
        role="tree"
        aria-label={props.label ?? text.flame.label}
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
          const { clientX, clientY, pointerType } = event;
          if (pointerType !== "touch") return;
          press.current = window.setTimeout(() => {
            if (drag.current) drag.current.moved = true;
            openMenu(at({ clientX, clientY }).node, clientX, clientY);
          }, LONG_PRESS_MS);
        }}
        onPointerMove={onPointerMove}
        onPointerUp={() => window.clearTimeout(press.current)}
        onPointerCancel={() => {
          window.clearTimeout(press.current);
          drag.current = null;
        }}
        onPointerLeave={() => setHover(null)}
        onClick={(event) => {
          const moved = drag.current?.moved;
          drag.current = null;
          if (moved) return;
          const { node } = at(event);
          if (node >= 0) onZoom(node);
        }}
        onContextMenu={(event) => {
          if (!props.actions) return;
          event.preventDefault();
          openMenu(at(event).node, event.clientX, event.clientY);
        }}
      >
        <canvas ref={canvas} className="flamegraph-canvas" aria-hidden="true" />
        <div ref={outline} className="flamegraph-outline" hidden />
        <AccessibleTree id={treeId} flame={flame} focused={focused} sampleUnit={sampleUnit} onZoom={onZoom} />
        {hover && !menu && <Tooltip flame={flame} node={hover.node} x={hover.x} y={hover.y} size={size} zoomed={zoomed} sampleUnit={sampleUnit} modules={props.modules} />}
      </div>
      {full && <Legend mode={colors} coloring={coloring} sampleUnit={sampleUnit} />}
      {menu && (
        <Menu
          title={frameName(flame, menu.node)}
          items={props.actions?.(menu.node) ?? []}
          x={menu.x}
          y={menu.y}
          onClose={() => setMenu(null)}
        />
      )}
    </div>
  );
}
