// The record of what was dropped, as the server tells it.

/** Nanoseconds between two times, never below zero: clocks of servers step back. */
export function agoOf(time: string, now: string): number {
  const ago = Date.parse(now) - Date.parse(time);
  return Number.isFinite(ago) ? Math.max(0, ago) * 1e6 : 0;
}

/** The labels as a selector is written. */
export function labelsOf(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return pairs.length > 0 ? `{${pairs.join(", ")}}` : "";
}
