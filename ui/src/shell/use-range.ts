import { useMemo, useState } from "react";
import { isLive, parseRange, type Range } from "../profile/time";
import { DEFAULT_FROM, DEFAULT_UNTIL } from "../url/state";
import { useFollowing } from "./follow";

/** The range in milliseconds. "now" is the time of the last refresh, so that all parts of a page agree. */
export function useRange(from: string, until: string): { range: Range; refresh: () => void } {
  const [now, setNow] = useState(() => Date.now());
  const refresh = () => setNow(Date.now());
  useFollowing(isLive(until), refresh);
  const range = useMemo(
    () => parseRange(from, until, now) ?? parseRange(DEFAULT_FROM, DEFAULT_UNTIL, now)!,
    [from, until, now],
  );
  return { range, refresh };
}
