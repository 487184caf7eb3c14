// Whether the server can be reached. When it cannot, it is asked again and again whether it is ready, and
// the pages are told when it is.

import { useSyncExternalStore } from "react";

/** Asks every failed question again, and refreshes ranges that move with the clock. */
export const AGAIN = "everflame:again";
const ASK_AGAIN_MS = 2000;
const SAY_BACK_MS = 4000;

export function askAgain(): void {
  window.dispatchEvent(new Event(AGAIN));
}

export type Connection = "fine" | "away" | "back";

let state: Connection = "fine";
const listeners = new Set<() => void>();

function become(next: Connection): void {
  if (state === next) return;
  state = next;
  for (const listener of listeners) listener();
}

/** Called by every question that found no server. */
export function lostServer(): void {
  if (state === "away") return;
  become("away");
  const ask = () => {
    fetch("/ready").then(
      (response) => (response.ok ? recovered() : setTimeout(ask, ASK_AGAIN_MS)),
      () => setTimeout(ask, ASK_AGAIN_MS),
    );
  };
  setTimeout(ask, ASK_AGAIN_MS);
}

function recovered(): void {
  become("back");
  askAgain();
  setTimeout(() => become("fine"), SAY_BACK_MS);
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state,
  );
}
