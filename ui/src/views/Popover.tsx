import { type ReactNode, useEffect, useRef, useState } from "react";
import { withinWindow } from "./within-window";

interface Props {
  label: ReactNode;
  className?: string;
  disabled?: boolean;
  children: (close: () => void) => ReactNode;
}

/** A button that opens a small panel; Escape, or a press elsewhere, closes it. */
export function Popover({ label, className = "button", disabled = false, children }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("keydown", escape);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("keydown", escape);
    };
  }, [open]);
  return (
    <div className="popover" ref={root}>
      <button ref={button} type="button" className={className} disabled={disabled} aria-expanded={open} onClick={() => setOpen(!open)}>
        {label}
        <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
          <path d="M2 3.5 5 6.5 8 3.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
        </svg>
      </button>
      {open && !disabled && <div ref={withinWindow} className="popover-panel">{children(close)}</div>}
    </div>
  );
}
