// Times as the reader wants to see them: in the browser's time zone or in UTC. The choice is the
// reader's, not the link's, so it is kept in the browser.

import { useSyncExternalStore } from "react";
import type { Range, Zone } from "../profile/time";
import { language } from "../text";

const KEY = "everflame.zone";
const DAY_MS = 86_400_000;
/** In shorter ranges seconds tell times apart. */
const FINE_MS = 600_000;
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
  /** The same to the minute, without the year when it is this one; to the second as an end of a short range. */
  minute: (ms: number, range?: Range) => {
    const thisYear = new Date(ms).getFullYear() === new Date().getFullYear();
    const parts: Intl.DateTimeFormatOptions = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false, ...(thisYear ? {} : { year: "numeric" }), ...(range && range.until - range.from < FINE_MS ? { second: "2-digit" } : {}) };
    return `${new Intl.DateTimeFormat(locale(), { ...parts, ...inZone() }).format(ms)}${zone === "utc" ? " UTC" : ""}`;
  },
  /** What stands at the ticks of an axis, in order: times of the day; beyond two days the date, once each. */
  ticks: (times: number[], range: Range) => {
    const length = range.until - range.from;
    const time: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false, ...(length < FINE_MS ? { second: "2-digit" } : {}) };
    const of = (parts: Intl.DateTimeFormatOptions) => {
      const format = new Intl.DateTimeFormat(locale(), { ...parts, ...inZone() });
      return times.map((each) => format.format(each));
    };
    if (length <= 2 * DAY_MS) return of(time);
    const dates = of({ day: "numeric", month: "short" });
    const hours = of(time);
    return dates.map((date, i) => (date === dates[i - 1] ? hours[i]! : date));
  },
  /** A date whose local parts are those of the zone, as chart axes want it. */
  zoned: (ms: number) => (zone === "utc" ? new Date(ms + new Date(ms).getTimezoneOffset() * 60_000) : new Date(ms)),
};
