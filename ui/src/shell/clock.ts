// Times as the reader wants to see them: in the browser's time zone or in UTC. The choice is the
// reader's, not the link's, so it is kept in the browser.

import { useSyncExternalStore } from "react";
import type { Range, Zone } from "../profile/time";
import { language } from "../text";

const KEY = "everflame.zone";
const DAY_MS = 86_400_000;
const listeners = new Set<() => void>();

function stored(): Zone {
  try {
    return localStorage.getItem(KEY) === "utc" ? "utc" : "local";
  } catch {
    return "local"; // Storage may be forbidden.
  }
}

let zone = stored();

export function chooseZone(next: Zone): void {
  zone = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Kept for this page only.
  }
  for (const listener of listeners) listener();
}

export function useZone(): Zone {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => zone,
  );
}

const locale = () => (language === "ja" ? "ja-JP" : "en-GB");
const inZone = () => (zone === "utc" ? { timeZone: "UTC" } : {});

export const clock = {
  /** A date and time, to the second. */
  moment: (ms: number) =>
    `${new Intl.DateTimeFormat(locale(), { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, ...inZone() }).format(ms)}${zone === "utc" ? " UTC" : ""}`,
  /** The same to the minute, without the year when it is this one. */
  minute: (ms: number) => {
    const thisYear = new Date(ms).getFullYear() === new Date().getFullYear();
    const parts: Intl.DateTimeFormatOptions = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false, ...(thisYear ? {} : { year: "numeric" }) };
    return `${new Intl.DateTimeFormat(locale(), { ...parts, ...inZone() }).format(ms)}${zone === "utc" ? " UTC" : ""}`;
  },
  /** What stands at a tick of an axis: times of the day; beyond two days the date. */
  tick: (ms: number, range: Range) => {
    const length = range.until - range.from;
    const parts: Intl.DateTimeFormatOptions =
      length > 2 * DAY_MS
        ? { day: "numeric", month: "short" }
        : { hour: "2-digit", minute: "2-digit", hour12: false, ...(length < 10 * 60_000 ? { second: "2-digit" } : {}) };
    return new Intl.DateTimeFormat(locale(), { ...parts, ...inZone() }).format(ms);
  },
  /** A date whose local parts are those of the zone, as chart axes want it. */
  zoned: (ms: number) => (zone === "utc" ? new Date(ms + new Date(ms).getTimezoneOffset() * 60_000) : new Date(ms)),
};
