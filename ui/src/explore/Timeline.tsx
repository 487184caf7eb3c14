// Lines over time, one or several that stand on each other. Dragging over them chooses a part of the
// range. Versions are marked where they came up.

import { useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { PALETTES } from "../flamegraph/color";
import { useElementSize } from "../flamegraph/use-element-size";
import { type ProfileType, rateOf } from "../profile/profile-type";
import type { Range } from "../profile/time";
import { fromZero, stacked, type Timeline as Values } from "../profile/timeline";
import { formatRate } from "../profile/units";
import { clock } from "../shell/clock";
import { canvasColors, currentTheme, type Theme, useTheme } from "../style/theme";

const HEIGHT = 148;
/** Room above the plot, where names of versions and what is read off hide no line. */
const ABOVE = 20;
const AXIS_WIDTH = 96;
/** "0.25 waiting threads" is the longest of all. */
const WAITING_AXIS_WIDTH = 144;
/** A shorter drag is a slip of the hand. */
const LEAST_BRUSH_PX = 6;

export interface Line {
  /** Empty for a line on its own. */
  name: string;
  line: Values;
  side?: "before" | "after";
}

export interface Marker {
  /** Milliseconds. */
  time: number;
  name: string;
}

export interface Brush {
  range: Range;
  name: string;
  side: "before" | "after";
}

interface Props {
  lines: Line[];
  /** Parts of a whole stand on each other; different questions stand beside each other. */
  together?: "stacked" | "beside";
  markers?: Marker[];
  /** Parts of the range that are chosen already. */
  brushes?: Brush[];
  type: ProfileType;
  range: Range;
  label: string;
  hint?: string;
  onBrush?: (range: Range) => void;
}

export function Timeline({ lines, together = "stacked", markers = [], brushes = [], type, range, label, hint, onBrush }: Props) {
  const [host, size] = useElementSize<HTMLDivElement>();
  const theme = useTheme();
  const brush = useRef(onBrush);
  brush.current = onBrush;
  const values = lines.map(({ line }) => line);
  const tops = together === "stacked" ? stacked(values) : values.map((each) => each.values);

  useLayoutEffect(() => {
    const element = host.current;
    if (!element || size.width === 0 || !lines[0]) return;
    const plot = new uPlot(
      options({ lines, together, markers, brushes, type, range, width: size.width, onBrush: brush }),
      // The tallest is drawn first, so that each band ends at the one below it.
      [lines[0].line.times, ...[...tops].reverse()],
      element,
    );
    const release = followFinger(plot);
    return () => {
      release();
      plot.destroy();
    };
  }, [lines, markers, brushes.map((each) => `${each.range.from}-${each.range.until}`).join(), type.id, range.from, range.until, size.width, theme]);

  return (
    <>
      <div ref={host} className="timeline" role="img" aria-label={describe(label, lines, markers)} title={hint} />
      {lines.length > 1 && (
        <ul className="timeline-legend">
          {lines.map(({ name, side }, i) => (
            <li key={name}>
              <span className="timeline-swatch" style={{ background: side ? `var(--${side === "before" ? "less" : "more"})` : lineColor(i, theme) }} />
              {name}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function describe(label: string, lines: Line[], markers: Marker[]): string {
  const names = lines.map(({ name }) => name).filter(Boolean);
  return [label, ...names, ...markers.map(({ name, time }) => `${name} ${clock.moment(time)}`)].join(", ");
}

/** Far from each other in hue, as frames are coloured. */
export function lineColor(index: number, theme: Theme): string {
  const { c } = PALETTES[theme].frame;
  return `oklch(${theme === "dark" ? 0.68 : 0.62} ${c + 0.04} ${(45 + index * 137.5) % 360})`;
}

interface PlotInput {
  lines: Line[];
  together: "stacked" | "beside";
  markers: Marker[];
  brushes: Brush[];
  type: ProfileType;
  range: Range;
  width: number;
  onBrush: { current: ((range: Range) => void) | undefined };
}

function options({ lines, together, markers, brushes, type, range, width, onBrush }: PlotInput): uPlot.Options {
  const colors = canvasColors();
  const theme = currentTheme();
  const rate = rateOf(type);
  const font = `12px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
  const axis = { stroke: colors.soft, font, grid: { stroke: colors.line, width: 1 }, ticks: { show: false } };
  const single = lines.length === 1;
  return {
    width,
    height: HEIGHT,
    padding: [ABOVE, 24, 0, 0],
    legend: { show: false },
    tzDate: (seconds) => clock.zoned(seconds * 1000),
    cursor: {
      drag: { x: onBrush.current !== undefined, y: false, setScale: false, dist: LEAST_BRUSH_PX },
      points: { size: 7, fill: colors.accent },
      y: false,
    },
    scales: {
      x: { time: true, range: [range.from / 1000, range.until / 1000] },
      y: { range: (_, low, high) => fromZero(low, high) },
    },
    axes: [
      { ...axis, size: 22, space: 64, values: (_, ticks) => clock.ticks(ticks.map((tick) => tick * 1000), range) },
      {
        ...axis,
        ...(rate.startsWith("bytes") ? { incrs: BINARY_STEPS } : {}),
        size: rate === "waiting" ? WAITING_AXIS_WIDTH : width < 480 ? 80 : AXIS_WIDTH,
        space: 36,
        values: (_, ticks) => ticks.map((tick) => formatRate(tick, rate)),
      },
    ],
    series: [
      {},
      ...lines.map((_, i) => {
        const at = lines.length - 1 - i;
        const side = lines[at]!.side;
        const color = side ? colors[side] : single ? colors.accent : lineColor(at, theme);
        return {
          stroke: color,
          width: single || together === "beside" ? 1.5 : 1,
          fill: single ? colors.fade : together === "stacked" ? color : "transparent",
          spanGaps: false,
          // A value between two gaps makes no line: it is a dot.
          points: { show: false, size: 6, fill: color, stroke: color, filter: (plot: uPlot, series: number) => lonely(plot.data[series] ?? []) },
        };
      }),
    ],
    hooks: {
      init: [(plot) => addReadout(plot, lines, type)],
      drawClear: [(plot) => drawBrushes(plot, brushes)],
      draw: [(plot) => drawMarkers(plot, markers, colors.text)],
      setSelect: [
        (plot) => {
          if (plot.select.width < LEAST_BRUSH_PX) return;
          const from = plot.posToVal(plot.select.left, "x") * 1000;
          const until = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
          onBrush.current?.({ from: Math.floor(from), until: Math.ceil(until) });
        },
      ],
      setCursor: [(plot) => showReadout(plot, lines, type)],
    },
  };
}

/** uPlot knows the mouse alone: a finger that goes sideways brushes, one that taps reads off. */
function followFinger(plot: uPlot): () => void {
  const { over } = plot;
  const held = new AbortController();
  const { signal } = held;
  let start: number | null = null;
  const at = (event: PointerEvent) => {
    const box = over.getBoundingClientRect();
    return Math.max(0, Math.min(box.width, event.clientX - box.left));
  };
  const select = (end: number, isDone: boolean) => {
    const left = Math.min(start!, end);
    plot.setSelect({ left, top: 0, width: Math.abs(end - start!), height: over.clientHeight }, isDone);
  };
  const drop = () => {
    start = null;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" && plot.cursor.drag?.x) start = at(event);
  }, { signal });
  over.addEventListener("pointermove", (event) => {
    if (start === null) return;
    select(at(event), false);
    plot.setCursor({ left: at(event), top: 0 });
  }, { signal });
  over.addEventListener("pointerup", (event) => {
    if (start === null) return;
    select(at(event), true);
    drop();
  }, { signal });
  over.addEventListener("pointercancel", drop, { signal });
  return () => held.abort();
}

/** Steps of an axis of bytes, so that its marks are whole KiB, MiB, GiB. */
const BINARY_STEPS = Array.from({ length: 60 }, (_, power) => 2 ** power);

/** A dashed line each, with its name above the plot, where it hides nothing. */
function drawMarkers(plot: uPlot, markers: Marker[], ink: string): void {
  const { ctx } = plot;
  const ratio = window.devicePixelRatio || 1;
  ctx.save();
  ctx.font = `${11 * ratio}px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
  ctx.textBaseline = "top";
  let taken = -Infinity;
  for (const { time, name } of [...markers].sort((a, b) => a.time - b.time)) {
    const x = Math.round(plot.valToPos(time / 1000, "x", true));
    ctx.strokeStyle = ink;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, plot.bbox.top - 2 * ratio);
    ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
    ctx.stroke();
    const label = name.slice(0, 24);
    const width = ctx.measureText(label).width + 6 * ratio;
    const left = x + width > plot.bbox.left + plot.bbox.width ? x - width : x;
    // Of names that would lie on each other the first stands there; the description names all.
    if (left < taken) continue;
    taken = left + width;
    ctx.fillStyle = ink;
    ctx.fillText(label, left - 3 * ratio, plot.bbox.top - 15 * ratio);
  }
  ctx.restore();
}

function drawBrushes(plot: uPlot, brushes: Brush[]): void {
  const style = getComputedStyle(document.documentElement);
  // Two that cover the same tell nothing apart.
  if (new Set(brushes.map(({ range }) => `${range.from} ${range.until}`)).size < brushes.length) return;
  for (const { range, side } of brushes) {
    const left = Math.max(plot.bbox.left, plot.valToPos(range.from / 1000, "x", true));
    const right = Math.min(plot.bbox.left + plot.bbox.width, plot.valToPos(range.until / 1000, "x", true));
    if (right <= left) continue;
    plot.ctx.save();
    plot.ctx.fillStyle = style.getPropertyValue(`--canvas-${side}`);
    plot.ctx.fillRect(left, plot.bbox.top, right - left, plot.bbox.height);
    plot.ctx.restore();
  }
}

/** Where values stand alone between gaps; null when none do. */
function lonely(values: ArrayLike<number | null | undefined>): number[] | null {
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if ((values[i] ?? null) !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) found.push(i);
  }
  return found.length > 0 ? found : null;
}

const readouts = new WeakMap<uPlot, HTMLDivElement>();

function addReadout(plot: uPlot, lines: Line[], type: ProfileType): void {
  const readout = document.createElement("div");
  readout.className = "timeline-readout";
  plot.over.appendChild(readout);
  readouts.set(plot, readout);
  showReadout(plot, lines, type);
}

function showReadout(plot: uPlot, lines: Line[], type: ProfileType): void {
  const readout = readouts.get(plot);
  if (!readout) return;
  const at = plot.cursor.idx;
  const present = typeof at === "number" ? lines.filter(({ line }) => (line.values[at] ?? null) !== null) : [];
  readout.hidden = present.length === 0 || (plot.cursor.left ?? -1) < 0;
  if (readout.hidden) return;
  const values = present.map(({ name, line }) => `${name}${name ? " " : ""}${formatRate(line.values[at!]!, rateOf(type))}`);
  readout.textContent = [clock.moment((plot.data[0][at!] ?? 0) * 1000), ...values].join(" · ");
  const right = (plot.cursor.left ?? 0) > plot.over.clientWidth / 2;
  readout.classList.toggle("left", right);
}
