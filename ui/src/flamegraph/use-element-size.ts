import { type RefObject, useLayoutEffect, useRef, useState } from "react";
import type { Size } from "./viewport";

/** The content size of an element in CSS pixels, followed as it changes. */
export function useElementSize<E extends HTMLElement>(): [RefObject<E | null>, Size] {
  const element = useRef<E>(null);
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const target = element.current;
    if (!target) return;
    const read = () => {
      const width = target.clientWidth;
      const height = target.clientHeight;
      setSize((before) => (before.width === width && before.height === height ? before : { width, height }));
    };
    read();
    const observer = new ResizeObserver(read);
    observer.observe(target);
    return () => observer.disconnect();
  }, []);
  return [element, size];
}
