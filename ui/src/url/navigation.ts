// The address bar as a store that React can follow.

import { type MouseEvent, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

const address = () => ({ path: location.pathname, search: location.search });
/** What the pages show: path and query change together, and for all components at once. */
let shown = address();

function follow(): void {
  shown = address();
  for (const listener of listeners) listener();
}

// One listener for all. If each component had its own, React would render between two of them, and a page
// that is about to go would take the query of the next page for its own.
window.addEventListener("popstate", follow);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A step that the back button undoes. */
export function visit(url: string): void {
  if (url === location.pathname + location.search) return;
  history.pushState(null, "", url);
  follow();
}

/**
 * A change too small for a step of its own, such as a letter typed. Effects that amend are layout effects:
 * a later one could run when the reader has left for another page, and would write over its address.
 */
export function amend(url: string): void {
  // The browser moves the address before it says so, and what answers in between amends a page of the past.
  if (location.pathname !== shown.path || location.search !== shown.search) return;
  if (url === shown.path + shown.search) return;
  history.replaceState(null, "", url);
  follow();
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => shown.path);
}

export function useSearch(): string {
  return useSyncExternalStore(subscribe, () => shown.search);
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
