// The answer to a statement: what its columns are, how a cell reads, what a chart can show of it.

import type { SqlAnswer } from "../api/openapi";

/** What is shown of an answer. */
export type SqlResult = Pick<SqlAnswer, "columns" | "rows">;

export type ColumnKind = "number" | "time" | "text";

export function kindOfColumn(type: string): ColumnKind {
  if (/^(u?(big|small|tiny|huge)?int(eger)?|double|real|float|decimal|numeric)\b/i.test(type)) return "number";
  return /^(timestamp|date)/i.test(type) ? "time" : "text";
}

/** A cell as text: lists and labels as JSON, nothing for null. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** A cell as a number; large ones and decimals come as text. NaN for what is none. */
export function cellNumber(value: unknown): number {
  if (typeof value === "number") return value;
  return typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN;
}

export interface SqlSort {
  column: string;
  descending: boolean;
}

export function sorted(result: SqlResult, sort: SqlSort | null): Record<string, unknown>[] {
  const column = result.columns.find(({ name }) => name === sort?.column);
  if (!sort || !column) return result.rows;
  const isNumber = kindOfColumn(column.type) === "number";
  const direction = sort.descending ? -1 : 1;
  const compare = (a: unknown, b: unknown) => {
    const [left, right] = [cellText(a), cellText(b)];
    // What is empty comes last, whichever way it goes.
    if (left === "" || right === "") return (left === "" ? 1 : 0) - (right === "" ? 1 : 0);
    return direction * (isNumber ? cellNumber(a) - cellNumber(b) : left < right ? -1 : left > right ? 1 : 0);
  };
  return [...result.rows].sort((a, b) => compare(a[sort.column], b[sort.column]));
}

/** RFC 4180: what holds a comma, a quote or a line break is quoted. */
export function csvOf(result: SqlResult): string {
  const field = (value: unknown) => {
    const written = cellText(value);
    return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
  };
  const lines = [result.columns.map(({ name }) => field(name)), ...result.rows.map((row) => result.columns.map(({ name }) => field(row[name])))];
  return lines.map((line) => `${line.join(",")}\r\n`).join("");
}

/** From where to where bars go, as shares of the width: all begin at zero, those below it lie left of it. */
export function barsOf(sizes: number[]): { from: number; width: number }[] {
  const low = Math.min(0, ...sizes);
  const whole = Math.max(0, ...sizes) - low;
  return sizes.map((size) => (whole > 0 ? { from: (Math.min(0, size) - low) / whole, width: Math.abs(size) / whole } : { from: 0, width: 0 }));
}

const MARK = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
const LARGE_MARK = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, notation: "compact" });
/** From here on the last digits of a mark of an axis say nothing. */
const LARGE = 1e6;

/** A mark of an axis: with enough digits that marks beside each other differ. */
export function axisNumber(value: number): string {
  return (Math.abs(value) >= LARGE ? LARGE_MARK : MARK).format(value);
}

export interface SqlChart {
  /** Names of what can be drawn. */
  values: string[];
  /** What it is drawn over: a time makes a line, a text bars. */
  over: string;
  kind: "line" | "bars";
}

/** What can be drawn of a result: numbers over its first time, or else by its first text. */
export function chartOf(result: SqlResult): SqlChart | null {
  const of = (kind: ColumnKind) => result.columns.filter(({ type }) => kindOfColumn(type) === kind).map(({ name }) => name);
  const values = of("number");
  const [time] = of("time");
  const [label] = of("text");
  if (values.length === 0 || result.rows.length === 0) return null;
  if (time !== undefined) return { values, over: time, kind: "line" };
  return label === undefined ? null : { values, over: label, kind: "bars" };
}
