// Whether pages with a range up to now refresh by themselves. For this tab alone: a link that is opened
// elsewhere asks the server for no more than its reader wants.

import { useEffect, useSyncExternalStore } from "react";
import { AGAIN } from "./connection";

export const FOLLOWS = ["", "5s", "15s", "60s"] as const;
export type Follow = (typeof FOLLOWS)[number];

const listeners = new Set<() => void>();
let chosen: Follow = "";

export function chooseFollow(next: Follow): void {
  chosen = next;
  for (const listener of listeners) listener();
}

export function useFollow(): Follow {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => chosen,
  );
}

/** Calls `refresh` at the chosen pace while the page can be seen, and when the server is back. */
export function useFollowing(isLive: boolean, refresh: () => void): void {
  const follow = useFollow();
  useEffect(() => {
    if (!isLive || follow === "") return;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") refresh();
    }, Number.parseInt(follow, 10) * 1000);
    return () => clearInterval(timer);
  }, [isLive, follow]);
  useEffect(() => {
    window.addEventListener(AGAIN, refresh);
    return () => window.removeEventListener(AGAIN, refresh);
  }, []);
}
