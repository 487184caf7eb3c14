// The heatmap itself: cells on a canvas, a rectangle that is dragged over them or set with the keys.

import { type KeyboardEvent, type PointerEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Heatmap } from "../api/openapi";
import { areaOf, type Area, cellsOf, type Corner, countIn, firstAlike, roundTimes, spanName, strength, ticksOf } from "../profile/heatmap";
import { formatValue, unitOf } from "../profile/units";
import { clock } from "../shell/clock";
import { canvasColors, useTheme } from "../style/theme";
import { text } from "../text";

const HEIGHT = 288;
const AXIS_BOTTOM = 22;
/** What is under the pointer is written there, above the cells. */
const AXIS_TOP = 28;
const AXIS_WIDTH = 80;
const TICK_SPACE_PX = 96;
const MOST_VALUE_TICKS = 6;

interface Props {
  map: Heatmap;
  area: Area | null;
  sampleUnit: string;
  width: number;
  label: string;
  onSelect: (area: Area | null) => void;
}

export function HeatmapCanvas({ map, area, sampleUnit, width, label, onSelect }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useTheme();
  const [drag, setDrag] = useState<{ begin: Corner; end: Corner } | null>(null);
  const [cursor, setCursor] = useState<{ begin: Corner; end: Corner } | null>(null);
  const [hovered, setHovered] = useState<Corner | null>(null);
  const plot = plotOf(map, width);
  const marked = drag ?? cursor;

  // Before the browser shows it, or it would be empty for a moment.
  useLayoutEffect(() => {
    const element = canvas.current;
    if (element) paint(element, map, plot, sampleUnit);
  }, [map, width, sampleUnit, theme]);
  // The keys' rectangle means cells of this heatmap; another one has others.
  useEffect(() => setCursor(null), [map]);

  const cornerAt = (event: PointerEvent): Corner => {
    const box = canvas.current!.getBoundingClientRect();
    return plot.corner(event.clientX - box.left, event.clientY - box.top);
  };
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const begin = cornerAt(event);
    setCursor(null);
    setDrag({ begin, end: begin });
  };
  const onPointerMove = (event: PointerEvent) => {
    const at = cornerAt(event);
    setHovered(at);
    if (drag) setDrag({ ...drag, end: at });
  };
  const onPointerUp = () => {
    if (!drag) return;
    setDrag(null);
    onSelect(areaOf(map, drag.begin, drag.end));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = steps[event.key];
    if (step) {
      const at = cursor?.end ?? firstCell(map, area);
      const end = cursor ? { column: clamp(at.column + step[0], map.columns), band: clamp(at.band + step[1], map.bands.length) } : at;
      setCursor({ begin: event.shiftKey && cursor ? cursor.begin : end, end });
    } else if (event.key === "Enter" && cursor) onSelect(areaOf(map, cursor.begin, cursor.end));
    else if (event.key === "Escape") {
      setCursor(null);
      onSelect(null);
    } else return;
    event.preventDefault();
  };

  const shown = marked ? areaOf(map, marked.begin, marked.end) : area;
  const cells = shown && cellsOf(map, shown);
  const told = marked?.end ?? hovered;
  return (
    <div
      className="heatmap"
      role="application"
      aria-label={`${label}. ${text.heatmap.keys}`}
      aria-describedby="heatmap-told"
      tabIndex={0}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
      onPointerCancel={() => setDrag(null)}
      onPointerLeave={() => setHovered(null)}
      onKeyDown={onKeyDown}
    >
      <canvas ref={canvas} />
      {cells && (
        <div
          className="heatmap-area"
          style={{
            left: `${plot.left + cells.left * plot.cellWidth}px`,
            top: `${plot.top + (plot.bands - 1 - cells.high) * plot.cellHeight}px`,
            width: `${(cells.right - cells.left + 1) * plot.cellWidth}px`,
            height: `${(cells.high - cells.low + 1) * plot.cellHeight}px`,
          }}
        />
      )}
      <p id="heatmap-told" className="heatmap-told" aria-live="polite" hidden={!told}>
        {told && tell(map, told, sampleUnit)}
      </p>
    </div>
  );
}

const clamp = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));

/** Where the keys begin: at the chosen area, or at the cell with the largest value. */
function firstCell(map: Heatmap, area: Area | null): Corner {
  const chosen = area && cellsOf(map, area);
  if (chosen) return { column: chosen.right, band: chosen.high };
  const highest = map.cells.reduce((best, cell) => (cell[1] > best[1] ? cell : best), map.cells[0] ?? [0, 0, 0]);
  return { column: highest[0], band: highest[1] };
}

function tell(map: Heatmap, at: Corner, sampleUnit: string): string {
  const area = areaOf(map, at, at);
  return [clock.minute(area.from), spanName(area, (value) => formatValue(value, sampleUnit)), text.heatmap.count(countIn(map, area))].join(" · ");
}

interface Plot {
  left: number;
  top: number;
  width: number;
  height: number;
  bands: number;
  cellWidth: number;
  cellHeight: number;
  /** The cell at a place on the canvas; the nearest one beside them. */
  corner: (x: number, y: number) => Corner;
}

function plotOf(map: Heatmap, width: number): Plot {
  const left = width < 480 ? 64 : AXIS_WIDTH;
  const inner = Math.max(1, width - left - 8);
  const height = HEIGHT - AXIS_BOTTOM - AXIS_TOP;
  const bands = Math.max(1, map.bands.length);
  const cellWidth = inner / map.columns;
  const cellHeight = height / bands;
  return {
    left,
    top: AXIS_TOP,
    width: inner,
    height,
    bands,
    cellWidth,
    cellHeight,
    corner: (x, y) => ({
      column: clamp(Math.floor((x - left) / cellWidth), map.columns),
      band: clamp(bands - 1 - Math.floor((y - AXIS_TOP) / cellHeight), bands),
    }),
  };
}

function paint(canvas: HTMLCanvasElement, map: Heatmap, plot: Plot, sampleUnit: string): void {
  const ratio = window.devicePixelRatio;
  const full = plot.left + plot.width + 8;
  canvas.width = Math.round(full * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  canvas.style.width = `${full}px`;
  canvas.style.height = `${HEIGHT}px`;
  const context = canvas.getContext("2d");
  if (!context) return;
  const colors = canvasColors();
  context.scale(ratio, ratio);
  context.clearRect(0, 0, full, HEIGHT);
  context.font = `12px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
  context.textBaseline = "middle";
  drawTimes(context, map, plot, colors);
  drawValues(context, map, plot, sampleUnit, colors);
  const most = map.cells.reduce((max, [, , count]) => Math.max(max, count), 0);
  context.fillStyle = colors.accent;
  // Whole device pixels, so that neighbours neither overlap nor leave a seam.
  const edge = (value: number) => Math.round(value * ratio) / ratio;
  for (const [column, band, count] of map.cells) {
    context.globalAlpha = strength(count, most);
    const x = edge(plot.left + column * plot.cellWidth);
    const y = edge(plot.top + (plot.bands - 1 - band) * plot.cellHeight);
    const bottom = edge(plot.top + (plot.bands - firstAlike(map, band)) * plot.cellHeight);
    context.fillRect(x, y, Math.max(1 / ratio, edge(plot.left + (column + 1) * plot.cellWidth) - x), Math.max(1 / ratio, bottom - y));
  }
  context.globalAlpha = 1;
}

type Colors = ReturnType<typeof canvasColors>;

function drawTimes(context: CanvasRenderingContext2D, map: Heatmap, plot: Plot, colors: Colors): void {
  const range = { from: map.start, until: map.start + map.columns * map.step };
  const zoned = clock.zoned(range.from);
  const offset = -zoned.getTimezoneOffset() * 60_000 + (zoned.getTime() - range.from);
  context.fillStyle = colors.soft;
  context.textAlign = "center";
  const times = roundTimes(range, Math.max(1, Math.floor(plot.width / TICK_SPACE_PX)), offset);
  const labels = clock.ticks(times, range);
  for (const [i, time] of times.entries()) {
    const label = labels[i]!;
    const x = plot.left + (plot.width * (time - range.from)) / (range.until - range.from);
    const half = context.measureText(label).width / 2;
    if (x + half < plot.left + plot.width + 8) context.fillText(label, x, HEIGHT - AXIS_BOTTOM / 2 + 2);
  }
}

function drawValues(context: CanvasRenderingContext2D, map: Heatmap, plot: Plot, sampleUnit: string, colors: Colors): void {
  if (!map.values) return;
  const { min, max } = map.values;
  context.textAlign = "right";
  for (const tick of ticksOf(map, MOST_VALUE_TICKS, unitOf(sampleUnit).unit === "bytes" ? 2 : 10)) {
    const share = max > min ? (tick - min) / (max - min) : 0.5;
    const y = plot.top + plot.height * (1 - share);
    context.fillStyle = colors.line;
    context.fillRect(plot.left, Math.round(y), plot.width, 1);
    context.fillStyle = colors.soft;
    context.fillText(formatValue(tick, sampleUnit), plot.left - 8, Math.max(8, Math.min(HEIGHT - AXIS_BOTTOM - 4, y)));
  }
}
