// Paints what the viewport shows onto one canvas of the viewport's size. Hot: runs once a frame.
//
// The cost is bound by the pixels, not by the nodes: in each visible level bisection finds the first
// node on the screen, and a run of nodes narrower than a device pixel is one rectangle, behind which
// bisection goes on.

import { type Flame, firstVisible, levelCount } from "../profile/flame";
import { css, type FramePalette } from "./color";
import type { Coloring } from "./coloring";
import type { LabelFitter } from "./label";
import { type Grows, ROW_HEIGHT, rowTop, type Size, type Viewport } from "./viewport";

export interface Scene {
  flame: Flame;
  coloring: Coloring;
  palette: FramePalette;
  grows: Grows;
  /** 1 for names that the search found; null without a search. */
  found: Uint8Array | null;
  focused: number;
  /** Name index that is selected, or -1. */
  selected: number;
  /** The outline of the focused node, and the underline of selected ones. */
  outline: string;
  accent: string;
  back: string;
  font: string;
  /** null when the root is a function like others. */
  rootLabel: string | null;
  foldedLabel: string;
}

const TEXT_PADDING = 4;
/** A bar that can hold two letters and an ellipsis. */
const LEAST_TEXT_WIDTH = 30;

export function paint(
  context: CanvasRenderingContext2D,
  scene: Scene,
  view: Viewport,
  size: Size,
  pixelRatio: number,
  labelFitter: LabelFitter,
): void {
  const { flame } = scene;
  const width = Math.round(size.width * pixelRatio);
  const height = Math.round(size.height * pixelRatio);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = scene.back;
  context.fillRect(0, 0, width, height);

  const rowHeight = ROW_HEIGHT * pixelRatio;
  const firstLevel = Math.max(0, Math.floor(view.scroll / ROW_HEIGHT));
  const endLevel = Math.min(levelCount(flame), Math.ceil((view.scroll + size.height) / ROW_HEIGHT));
  const scale = width / view.span;
  const labels: Label[] = [];
  const batches = new Batches();

  for (let depth = firstLevel; depth < endLevel; depth++) {
    const exact = rowTop(depth, view, size, scene.grows) * pixelRatio;
    const top = Math.round(exact);
    const bottom = Math.round(exact + rowHeight) - Math.max(1, Math.round(pixelRatio / 2));
    layLevel(scene, view, { depth, top, height: bottom - top, width, scale, pixelRatio, labels, batches });
  }
  batches.paint(context, scene);
  paintLabels(context, scene, labels, pixelRatio, labelFitter);
  outline(context, scene, view, size, scale, pixelRatio);
}

interface Label {
  node: number;
  left: number;
  width: number;
  top: number;
  height: number;
}

interface Row {
  depth: number;
  top: number;
  height: number;
  width: number;
  scale: number;
  pixelRatio: number;
  labels: Label[];
  batches: Batches;
}

/** Numbers of fills beyond those of the coloring: dimmed ones follow at this distance, then the special. */
const DIMMED = 64;
const ROOT_FILL = 128;
const FOLDED_FILL = 129;
const SELECTED_FILL = 130;

/** Rectangles by colour: changing the colour costs more than painting a rectangle. */
class Batches {
  private readonly rects: number[][] = [];
  private readonly striped: number[][] = [];

  add(fill: number, left: number, top: number, width: number, height: number): void {
    (this.rects[fill] ??= []).push(left, top, width, height);
  }

  addStriped(left: number, top: number, width: number, height: number): void {
    this.add(FOLDED_FILL, left, top, width, height);
    this.striped.push([left, top, width, height]);
  }

  paint(context: CanvasRenderingContext2D, scene: Scene): void {
    this.rects.forEach((rects, fill) => {
      context.fillStyle = fillStyle(scene, fill);
      for (let i = 0; i < rects.length; i += 4) context.fillRect(rects[i]!, rects[i + 1]!, rects[i + 2]!, rects[i + 3]!);
    });
    const ratio = window.devicePixelRatio || 1;
    for (const [left, top, width, height] of this.striped) paintStripes(context, scene, left!, top!, width!, height!, ratio);
  }
}

function fillStyle({ coloring, palette, accent }: Scene, fill: number): string {
  if (fill === ROOT_FILL) return css(palette.root);
  if (fill === FOLDED_FILL) return css(palette.folded);
  if (fill === SELECTED_FILL) return accent;
  return (fill < DIMMED ? coloring.fills[fill] : coloring.dimmed[fill - DIMMED])!;
}

function layLevel(scene: Scene, view: Viewport, row: Row): void {
  const { flame } = scene;
  const { batches } = row;
  const end = flame.levelStart[row.depth + 1]!;
  let node = firstVisible(flame, row.depth, view.left);
  while (node < end) {
    const from = (flame.x[node]! - view.left) * row.scale;
    if (from >= row.width) break;
    const left = Math.max(0, Math.round(from));
    const exactRight = from + flame.width[node]! * row.scale;
    const right = Math.min(row.width, Math.round(exactRight));
    if (exactRight - from < 1 || right <= left) {
      // A run of slivers: one pixel column stands for all that end within it.
      const column = Math.floor(Math.max(0, from));
      const next = firstVisible(flame, row.depth, view.left + (column + 1) / row.scale);
      if (flame.width[node]! > 0 || next > node + 1) batches.add(fillOf(scene, node), column, row.top, 1, row.height);
      node = Math.max(node + 1, next);
      continue;
    }
    const gap = right - left > 3 * row.pixelRatio ? Math.max(1, Math.round(row.pixelRatio / 2)) : 0;
    const width = right - left - gap;
    if (flame.folded[node]) batches.addStriped(left, row.top, width, row.height);
    else batches.add(fillOf(scene, node), left, row.top, width, row.height);
    if (right - left >= LEAST_TEXT_WIDTH * row.pixelRatio) row.labels.push({ node, left, width, top: row.top, height: row.height });
    if (scene.selected >= 0 && flame.name[node] === scene.selected && node !== 0 && !flame.folded[node]) {
      const line = Math.max(2, Math.round(2 * row.pixelRatio));
      batches.add(SELECTED_FILL, left, row.top + row.height - line, width, line);
    }
    node++;
  }
}

function fillOf(scene: Scene, node: number): number {
  if (scene.flame.folded[node]) return FOLDED_FILL;
  if (node === 0) return ROOT_FILL;
  return scene.coloring.of[node]! + (isDimmed(scene, node) ? DIMMED : 0);
}

function isDimmed(scene: Scene, node: number): boolean {
  return scene.found !== null && scene.found[scene.flame.name[node]!] === 0;
}

/** Diagonal stripes: folded nodes must not look like a function. */
function paintStripes(
  context: CanvasRenderingContext2D,
  scene: Scene,
  left: number,
  top: number,
  width: number,
  height: number,
  pixelRatio: number,
): void {
  const distance = 6 * pixelRatio;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.strokeStyle = css(scene.palette.foldedStripe);
  context.lineWidth = pixelRatio;
  context.beginPath();
  for (let x = left - height; x < left + width; x += distance) {
    context.moveTo(x, top + height);
    context.lineTo(x + height, top);
  }
  context.stroke();
  context.restore();
}

function paintLabels(
  context: CanvasRenderingContext2D,
  scene: Scene,
  labels: Label[],
  pixelRatio: number,
  labelFitter: LabelFitter,
): void {
  const { flame, palette } = scene;
  context.font = scene.font;
  context.textBaseline = "middle";
  const text = css(palette.text);
  const dimmedText = css(palette.dimmedText);
  let fill = "";
  for (const label of labels) {
    const width = label.width / pixelRatio - 2 * TEXT_PADDING;
    const special = flame.folded[label.node] ? scene.foldedLabel : label.node === 0 ? scene.rootLabel : null;
    const shown = special === null ? labelFitter.name(flame.name[label.node]!, width) : labelFitter.text(special, width);
    if (shown === "") continue;
    const dimmed = flame.folded[label.node] === 1 || isDimmed(scene, label.node);
    const wanted = dimmed ? dimmedText : text;
    if (wanted !== fill) context.fillStyle = fill = wanted;
    context.fillText(shown, label.left + TEXT_PADDING * pixelRatio, label.top + label.height / 2 + pixelRatio / 2);
  }
}

/** The frame that the keyboard is on. */
function outline(
  context: CanvasRenderingContext2D,
  scene: Scene,
  view: Viewport,
  size: Size,
  scale: number,
  pixelRatio: number,
): void {
  const { flame, focused } = scene;
  if (focused < 0 || focused >= flame.name.length) return;
  const left = Math.round((flame.x[focused]! - view.left) * scale);
  const right = Math.max(left + 2, Math.round((flame.x[focused]! + flame.width[focused]! - view.left) * scale));
  const top = Math.round(rowTop(flame.depth[focused]!, view, size, scene.grows) * pixelRatio);
  const thickness = Math.max(1, Math.round(2 * pixelRatio));
  context.strokeStyle = scene.outline;
  context.lineWidth = thickness;
  // Far outside edges would overflow the canvas's own numbers.
  const from = Math.max(-10, left);
  const to = Math.min(context.canvas.width + 10, right);
  const inset = thickness / 2;
  context.strokeRect(from + inset, top + inset, to - from - thickness, ROW_HEIGHT * pixelRatio - thickness - 1);
}
