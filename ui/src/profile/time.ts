// Times as people type them: `now-6h`, `now-1h30m`, an ISO date, or a number of milliseconds.

/** The zone of a time that names none. */
export type Zone = "local" | "utc";

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

export interface Range {
  /** Milliseconds since 1970. */
  from: number;
  until: number;
}

/** Dates, with a time of day and a zone or without. */
const ISO = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))? ?(Z|[+-]\d{2}:\d{2})?$/i;
/** What a date can hold, milliseconds since 1970. */
const LAST_MS = 8.64e15;

/**
 * Milliseconds since 1970, or null when the text is no time. A link means the same wherever it is opened, so a time
 * without a zone is one of UTC; what a reader types is of the reader's `zone`.
 */
export function parseTime(text: string, now: number, zone: Zone = "utc"): number | null {
  const trimmed = text.trim();
  if (trimmed === "now") return now;
  const relative = /^now\s*([+-])\s*((?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)\s*)+)$/.exec(trimmed);
  if (relative) {
    const parts = relative[2]!.matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)/g);
    let offset = 0;
    for (const [, amount, unit] of parts) offset += Number(amount) * UNIT_MS[unit!]!;
    return now + (relative[1] === "-" ? -offset : offset);
  }
  if (/^\d+$/.test(trimmed)) {
    const number = Number(trimmed);
    const ms = trimmed.length >= 13 ? number : trimmed.length >= 9 ? number * 1000 : null;
    return ms !== null && ms <= LAST_MS ? ms : null;
  }
  const [, day, clock = "00:00", named] = ISO.exec(trimmed) ?? [];
  if (day === undefined) return null;
  const date = Date.parse(`${day}T${clock}${named?.toUpperCase() ?? (zone === "utc" ? "Z" : "")}`);
  return Number.isNaN(date) ? null : date;
}

export function parseRange(from: string, until: string, now: number, zone: Zone = "utc"): Range | null {
  const start = parseTime(from, now, zone);
  const end = parseTime(until, now, zone);
  if (start === null || end === null || start >= end || Math.abs(start) > LAST_MS || Math.abs(end) > LAST_MS) return null;
  return { from: Math.floor(start), until: Math.ceil(end) };
}

/** What was typed as links have it: relative times as they are, all others with their zone. */
export function inLink(typed: string, zone: Zone): string {
  const trimmed = typed.trim();
  const ms = /^now|^\d+$/.test(trimmed) ? null : parseTime(trimmed, 0, zone);
  return ms === null ? trimmed : formatIso(ms);
}

/** Whether the range moves with the clock, so that a refresh shows something new. */
export function isLive(until: string): boolean {
  return until.trim().startsWith("now");
}

/** A length of time in the shortest words: `15 min`, `6 h`, `2 d`. */
export function formatSpan(ms: number): string {
  const steps: [string, number][] = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1000],
  ];
  for (const [unit, size] of steps) {
    if (ms >= size) return `${Number((ms / size).toPrecision(3))} ${unit}`;
  }
  return `${Math.round(ms)} ms`;
}

/** An ISO time in UTC without what is zero, for links and titles. */
export function formatIso(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** Links need no milliseconds. */
export function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
