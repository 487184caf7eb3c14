// A result as a picture: numbers over time as a line, by text as bars.

import { useLayoutEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { visible } from "../flamegraph/label";
import { useElementSize } from "../flamegraph/use-element-size";
import { fromZero } from "../profile/timeline";
import { threeDigits } from "../profile/units";
import { clock } from "../shell/clock";
import { canvasColors, useTheme } from "../style/theme";
import { text } from "../text";
import { axisNumber, barsOf, cellNumber, cellText, type SqlChart, type SqlResult } from "./result";

const MOST_BARS = 40;
const HEIGHT = 280;

export function ResultChart({ result, chart }: { result: SqlResult; chart: SqlChart }) {
  const [chosen, setChosen] = useState("");
  const value = chart.values.includes(chosen) ? chosen : chart.values.at(-1)!;
  const label = text.sql.chartOf(visible(value), visible(chart.over));
  return (
    <>
      {chart.values.length > 1 && (
        <select className="select sql-value" aria-label={text.sql.value} value={value} onChange={(event) => setChosen(event.target.value)}>
          {chart.values.map((name) => (
            <option key={name} value={name}>
              {visible(name)}
            </option>
          ))}
        </select>
      )}
      {!result.rows.some((row) => Number.isFinite(cellNumber(row[value]))) ? (
        <p className="notice">{text.sql.noNumbers(visible(value))}</p>
      ) : chart.kind === "bars" ? <Bars result={result} over={chart.over} value={value} label={label} /> : <Line result={result} over={chart.over} value={value} label={label} />}
    </>
  );
}

interface Props {
  result: SqlResult;
  over: string;
  value: string;
  label: string;
}

function Bars({ result, over, value, label }: Props) {
  const rows = result.rows.map((row) => ({ name: cellText(row[over]), size: cellNumber(row[value]) })).filter(({ size }) => Number.isFinite(size));
  const shown = rows.slice(0, MOST_BARS);
  const place = barsOf(shown.map(({ size }) => size));
  return (
    <>
      <ol className="sql-bars" aria-label={label}>
        {shown.map(({ name, size }, i) => (
          <li key={i}>
            <span className="sql-bar-name mono" title={visible(name)}>
              {visible(name) || text.explore.noValue}
            </span>
            <span className="sql-bar">
              <span style={{ left: `${place[i]!.from * 100}%`, width: `${place[i]!.width * 100}%` }} />
            </span>
            <span className="sql-number">{threeDigits(size)}</span>
          </li>
        ))}
      </ol>
      {rows.length > MOST_BARS && <p className="soft">{text.sql.firstBars(MOST_BARS, rows.length)}</p>}
    </>
  );
}

function Line({ result, over, value, label }: Props) {
  const [host, size] = useElementSize<HTMLDivElement>();
  const theme = useTheme();
  const points = useMemo(() => {
    const found = result.rows.map((row) => [Date.parse(cellText(row[over])) / 1000, cellNumber(row[value])] as const);
    return found.filter(([time]) => Number.isFinite(time)).sort((a, b) => a[0] - b[0]);
  }, [result, over, value]);
  const plot = useRef<uPlot | null>(null);
  useLayoutEffect(() => {
    const element = host.current;
    if (!element || size.width === 0 || points.length === 0) return;
    const colors = canvasColors();
    const font = `12px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
    const axis = { stroke: colors.soft, font, grid: { stroke: colors.line, width: 1 }, ticks: { show: false } };
    const range = { from: points[0]![0] * 1000, until: points.at(-1)![0] * 1000 };
    plot.current = new uPlot(
      {
        width: size.width,
        height: HEIGHT,
        padding: [8, 32, 0, 0],
        legend: { show: false },
        tzDate: (seconds) => clock.zoned(seconds * 1000),
        scales: { x: { time: true }, y: { range: (_, low, high) => fromZero(low, high) } },
        axes: [
          { ...axis, space: 72, values: (_, ticks) => clock.ticks(ticks.map((tick) => tick * 1000), range) },
          { ...axis, size: (_, marks) => widthOf(marks, font), values: (_, ticks) => ticks.map(axisNumber) },
        ],
        series: [{}, { stroke: colors.accent, width: 1.5, fill: colors.fade, points: { show: points.length < 60, fill: colors.accent } }],
      },
      [points.map(([time]) => time), points.map(([, each]) => (Number.isFinite(each) ? each : null))],
      element,
    );
    return () => plot.current?.destroy();
  }, [points, size.width, theme]);
  return <div ref={host} className="sql-line" role="img" aria-label={label} />;
}

const LEAST_AXIS_PX = 56;
const BESIDE_MARKS_PX = 16;
let measure: CanvasRenderingContext2D | null = null;

/** What the longest mark of an axis needs: a number without its beginning is another number. */
function widthOf(marks: string[] | null, font: string): number {
  measure ??= document.createElement("canvas").getContext("2d");
  if (!measure) return LEAST_AXIS_PX;
  measure.font = font;
  return Math.ceil(Math.max(LEAST_AXIS_PX, ...(marks ?? []).map((mark) => measure!.measureText(mark).width + BESIDE_MARKS_PX)));
}
