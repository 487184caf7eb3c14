// Dark, light, or what the system says. The choice is kept in this browser, not in the URL: it
// belongs to the reader, not to the link.

import { useSyncExternalStore } from "react";

export type Theme = "light" | "dark";

const KEY = "everflame.theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

function stored(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // Storage may be forbidden; then the system's theme it is.
  }
}

let chosen = stored();

export function applyTheme(): void {
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

export function currentTheme(): Theme {
  return chosen ?? (system.matches ? "dark" : "light");
}

export function toggleTheme(): void {
  const next: Theme = currentTheme() === "dark" ? "light" : "dark";
  chosen = next === (system.matches ? "dark" : "light") ? null : next;
  try {
    if (chosen) localStorage.setItem(KEY, chosen);
    else localStorage.removeItem(KEY);
  } catch {
    // Kept for this page only.
  }
  applyTheme();
  for (const listener of listeners) listener();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    system.addEventListener("change", listener);
    return () => {
      listeners.delete(listener);
      system.removeEventListener("change", listener);
    };
  }, currentTheme);
}

/** The tokens that canvases paint with, as they are in the current theme. */
export interface CanvasColors {
  back: string;
  text: string;
  line: string;
  accent: string;
  soft: string;
  /** The accent as a fill under a line. */
  fade: string;
  /** Lines of the two sides of a comparison. */
  before: string;
  after: string;
}

export function canvasColors(): CanvasColors {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(`--canvas-${name}`).trim();
  return { back: token("back"), text: token("text"), line: token("line"), accent: token("accent"), soft: token("soft"), fade: token("fade"), before: token("less"), after: token("more") };
}
