const EDGE = 8;

/**
 * For panels that hang from a button, as their `ref`: moves one so far to the side that it lies within the window,
 * and lets it scroll where it is taller than that.
 */
export function withinWindow(element: HTMLElement | null): (() => void) | undefined {
  if (!element) return undefined;
  const place = () => {
    element.style.translate = "";
    const { left, right } = element.getBoundingClientRect();
    const shift = Math.max(EDGE - left, Math.min(0, document.documentElement.clientWidth - EDGE - right));
    element.style.translate = `${Math.round(shift)}px`;
    element.style.maxHeight = `${window.innerHeight - 2 * EDGE}px`;
  };
  place();
  window.addEventListener("resize", place);
  return () => window.removeEventListener("resize", place);
}
