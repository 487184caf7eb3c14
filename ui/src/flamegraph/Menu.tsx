// What can be done with a function, as a menu where it was asked for.

import { type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react";

export interface MenuItem {
  label: string;
  run: () => void;
}

interface Props {
  title: string;
  items: MenuItem[];
  /** CSS pixels in the window. */
  x: number;
  y: number;
  onClose: () => void;
}

const EDGE = 8;

export function Menu({ title, items, x, y, onClose }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  /** A menu comes up below a finger that is still down; what that finger does when it goes up means nothing here. */
  const pressed = useRef(false);
  close.current = onClose;
  useLayoutEffect(() => {
    const element = box.current!;
    const left = Math.max(EDGE, Math.min(x, window.innerWidth - element.offsetWidth - EDGE));
    const top = Math.max(EDGE, Math.min(y, window.innerHeight - element.offsetHeight - EDGE));
    element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    element.querySelector<HTMLElement>("[role=menuitem]")?.focus({ preventScroll: true });
  }, [x, y]);
  useEffect(() => {
    const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) close.current();
    };
    const away = () => close.current();
    document.addEventListener("pointerdown", outside, true);
    window.addEventListener("scroll", away, { passive: true });
    window.addEventListener("resize", away);
    return () => {
      document.removeEventListener("pointerdown", outside, true);
      window.removeEventListener("scroll", away);
      window.removeEventListener("resize", away);
      before?.focus({ preventScroll: true });
    };
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    const all = [...box.current!.querySelectorAll<HTMLElement>("[role=menuitem]")];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (event.key === "ArrowDown") all[(at + 1) % all.length]?.focus();
    else if (event.key === "ArrowUp") all[(at - 1 + all.length) % all.length]?.focus();
    else return;
    event.preventDefault();
  };

  return (
    <div
      ref={box}
      className="menu"
      role="menu"
      aria-label={title}
      onKeyDown={onKeyDown}
      onClick={(event) => event.stopPropagation()}
      onPointerDown={(event) => {
        pressed.current = true;
        event.stopPropagation();
      }}
      onContextMenu={(event) => event.preventDefault()}
    >
      <div className="menu-title mono" role="presentation">
        {title}
      </div>
      {items.map((item) => (
        <button
          key={item.label}
          type="button"
          role="menuitem"
          tabIndex={-1}
          onClick={(event) => {
            const byPointer = event.detail > 0;
            if (byPointer && !pressed.current) return;
            onClose();
            item.run();
          }}
        >
          {item.label}
        </button>
      ))}
    </div>
  );
}
