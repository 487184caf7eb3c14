// A heatmap of single profiles or spans: which cell is where, and what lies between two of them.

import type { Heatmap } from "../api/openapi";
import type { Range } from "./time";

/** A part of a heatmap: times in milliseconds and values, both ends belong to it. */
export interface Area extends Range {
  min: number;
  max: number;
}

/** A cell by column and band, or a corner of a rectangle of cells. */
export interface Corner {
  column: number;
  band: number;
}

export function areaOf(map: Heatmap, a: Corner, b: Corner): Area {
  const [left, right] = [Math.min(a.column, b.column), Math.max(a.column, b.column)];
  const [low, high] = [Math.min(a.band, b.band), Math.max(a.band, b.band)];
  const min = map.bands[low] ?? 0;
  // Bands narrower than 1 begin at the same value: what lies in any of them is that value.
  const next = map.bands.find((first, band) => band > high && first !== map.bands[high]);
  return {
    from: map.start + left * map.step,
    until: map.start + (right + 1) * map.step - 1,
    min,
    max: Math.max(min, next === undefined ? (map.values?.max ?? 0) : next - 1),
  };
}

/** The cells that an area covers, at least in part: left, right, low and high, all included; null when it lies outside. */
export function cellsOf(map: Heatmap, area: Area): { left: number; right: number; low: number; high: number } | null {
  const left = Math.max(0, Math.floor((area.from - map.start) / map.step));
  const right = Math.min(map.columns - 1, Math.floor((area.until - map.start) / map.step));
  const low = Math.max(0, firstAlike(map, bandOf(map, area.min)));
  const high = bandOf(map, area.max);
  return left > right || high < 0 || low > high ? null : { left, right, low, high };
}

/** The band of a value, the last of those that begin where it does; -1 below the first. */
export function bandOf(map: Heatmap, value: number): number {
  return map.bands.findLastIndex((first) => first <= value);
}

/** The first of the bands that begin where `band` does: narrower than 1, together they are one value. */
export function firstAlike(map: Heatmap, band: number): number {
  return map.bands.indexOf(map.bands[band]!);
}

/** How many fell into an area, by whole cells. */
export function countIn(map: Heatmap, area: Area): number {
  const cells = cellsOf(map, area);
  if (!cells) return 0;
  return map.cells.reduce((sum, [column, band, count]) => (column >= cells.left && column <= cells.right && band >= cells.low && band <= cells.high ? sum + count : sum), 0);
}

/** The values of an area in words: two ends, or one where they read alike. */
export function spanName({ min, max }: Area, format: (value: number) => string): string {
  return [...new Set([format(min), format(max)])].join(" – ");
}

const FAINTEST = 0.18;

/** How strongly a cell is drawn: by the logarithm of its count, since one outlier is what people look for. */
export function strength(count: number, most: number): number {
  if (count <= 0) return 0;
  return most <= 1 ? 1 : FAINTEST + (1 - FAINTEST) * (Math.log(count) / Math.log(most));
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const TIME_STEPS = [1000, 5000, 15_000, 30_000, ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE_MS), ...[1, 2, 3, 6, 12].map((n) => n * HOUR_MS), ...[1, 2, 7, 14, 28].map((n) => n * DAY_MS)];

/** Round times within a range, at most some `most` of them; `offset` is what local time is ahead of UTC, in milliseconds. */
export function roundTimes(range: Range, most: number, offset: number): number[] {
  const step = TIME_STEPS.find((each) => each * most >= range.until - range.from) ?? Math.ceil((range.until - range.from) / most / DAY_MS) * DAY_MS;
  const times: number[] = [];
  for (let time = Math.ceil((range.from + offset) / step) * step - offset; time <= range.until; time += step) times.push(time);
  return times;
}

/** Values to write at the side, from the lowest up: few, and round ones. */
export function ticksOf(map: Heatmap, most: number, base: 10 | 2): number[] {
  if (!map.values) return [];
  const { min, max } = map.values;
  if (min === max) return [min];
  const rough = (max - min) / most;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = (base === 2 ? [1, 2] : [1, 2, 5, 10]).map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const ticks: number[] = [];
  for (let tick = Math.ceil(min / step) * step; tick <= max; tick += step) ticks.push(tick);
  return ticks;
}
