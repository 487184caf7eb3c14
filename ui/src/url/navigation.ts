// The address bar as a store that React can follow.

import { type MouseEvent, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function notify(): void {
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** A step that the back button undoes. */
export function visit(url: string): void {
  if (url === location.pathname + location.search) return;
  history.pushState(null, "", url);
  notify();
}

/** A change too small for a step of its own, such as a letter typed. */
export function amend(url: string): void {
  if (url === location.pathname + location.search) return;
  history.replaceState(null, "", url);
  notify();
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname);
}

export function useSearch(): string {
  return useSyncExternalStore(subscribe, () => location.search);
}

/** For links within the pages; new tabs and downloads stay the browser's. */
export function followLink(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const target = new URL(event.currentTarget.href);
  if (target.origin !== location.origin) return;
  event.preventDefault();
  visit(target.pathname + target.search);
  window.scrollTo(0, 0);
}
