// The timeline of a query. Dragging over it chooses a part of the range.

import { useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useElementSize } from "../flamegraph/use-element-size";
import { type ProfileType, rateOf } from "../profile/profile-type";
import type { Range } from "../profile/time";
import type { Timeline as Line } from "../profile/timeline";
import { formatRate } from "../profile/units";
import { canvasColors, useTheme } from "../style/theme";

const HEIGHT = 144;
const AXIS_WIDTH = 96;
/** A shorter drag is a slip of the hand. */
const LEAST_BRUSH_PX = 6;

interface Props {
  line: Line;
  type: ProfileType;
  range: Range;
  label: string;
  onBrush: (range: Range) => void;
}

export function Timeline({ line, type, range, label, onBrush }: Props) {
  const [host, size] = useElementSize<HTMLDivElement>();
  const theme = useTheme();
  const brush = useRef(onBrush);
  brush.current = onBrush;

  useLayoutEffect(() => {
    const element = host.current;
    if (!element || size.width === 0) return;
    const plot = new uPlot(options(type, range, size.width, (chosen) => brush.current(chosen)), [line.times, line.values], element);
    return () => plot.destroy();
  }, [line, type.id, range.from, range.until, size.width, theme]);

  return <div ref={host} className="timeline" role="img" aria-label={label} />;
}

function options(type: ProfileType, range: Range, width: number, onBrush: (range: Range) => void): uPlot.Options {
  const colors = canvasColors();
  const rate = rateOf(type);
  const font = `12px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
  const axis = { stroke: colors.soft, font, grid: { stroke: colors.line, width: 1 }, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    padding: [8, 24, 0, 0],
    legend: { show: false },
    cursor: {
      drag: { x: true, y: false, setScale: false, dist: LEAST_BRUSH_PX },
      points: { size: 7, fill: colors.accent },
      y: false,
    },
    scales: {
      x: { time: true, range: [range.from / 1000, range.until / 1000] },
      y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : 1] },
    },
    axes: [
      { ...axis, size: 22, space: 64, values: (_, ticks) => timeNames(range, ticks) },
      { ...axis, ...(rate.startsWith("bytes") ? { incrs: BINARY_STEPS } : {}), size: width < 480 ? 80 : AXIS_WIDTH, space: 36, values: (_, ticks) => ticks.map((tick) => formatRate(tick, rate)) },
    ],
    series: [
      {},
      {
        stroke: colors.accent,
        width: 1.5,
        fill: colors.fade,
        spanGaps: false,
        points: { show: (_, __, from, until) => until - from < 2 },
      },
    ],
    hooks: {
      init: [(plot) => addReadout(plot, type)],
      setSelect: [
        (plot) => {
          if (plot.select.width < LEAST_BRUSH_PX) return;
          const from = plot.posToVal(plot.select.left, "x") * 1000;
          const until = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
          onBrush({ from: Math.floor(from), until: Math.ceil(until) });
        },
      ],
      setCursor: [(plot) => showReadout(plot, type)],
    },
  };
}

/** Steps of an axis of bytes, so that its marks are whole KiB, MiB, GiB. */
const BINARY_STEPS = Array.from({ length: 60 }, (_, power) => 2 ** power);
const DAY_MS = 86_400_000;

/** Times of the day; beyond two days the date. */
function timeNames(range: Range, ticks: number[]): string[] {
  const long = range.until - range.from > 2 * DAY_MS;
  const short = range.until - range.from < 10 * 60_000;
  const format = new Intl.DateTimeFormat("en-GB", long ? { day: "numeric", month: "short" } : { timeStyle: short ? "medium" : "short" });
  return ticks.map((tick) => format.format(tick * 1000));
}

const readouts = new WeakMap<uPlot, HTMLDivElement>();

function addReadout(plot: uPlot, type: ProfileType): void {
  const readout = document.createElement("div");
  readout.className = "timeline-readout";
  plot.over.appendChild(readout);
  readouts.set(plot, readout);
  showReadout(plot, type);
}

function showReadout(plot: uPlot, type: ProfileType): void {
  const readout = readouts.get(plot);
  if (!readout) return;
  const at = plot.cursor.idx;
  const value = at === null || at === undefined ? null : plot.data[1]?.[at];
  readout.hidden = value === null || value === undefined || (plot.cursor.left ?? -1) < 0;
  if (readout.hidden) return;
  const time = new Date((plot.data[0][at!] ?? 0) * 1000);
  readout.textContent = `${time.toLocaleString("en-GB")} · ${formatRate(value!, rateOf(type))}`;
  const right = (plot.cursor.left ?? 0) > plot.over.clientWidth / 2;
  readout.classList.toggle("left", right);
}
