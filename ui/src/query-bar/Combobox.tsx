// A text field with suggestions, as the ARIA combobox pattern asks.

import { type KeyboardEvent, useId, useState } from "react";
import { visible } from "../flamegraph/label";
import { withinWindow } from "../views/within-window";

const MOST_SHOWN = 100;

interface Props {
  label: string;
  value: string;
  options: string[];
  /** What stands behind each option, such as how many series have it. */
  hints?: ReadonlyMap<string, string>;
  loading: boolean;
  nothing: string;
  autoFocus?: boolean;
  onChange: (value: string) => void;
  onChoose: (value: string) => void;
}

export function Combobox({ label, value, options, hints, loading, nothing, autoFocus = false, onChange, onChoose }: Props) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const wanted = value.toLowerCase();
  const exact = options.includes(value);
  const shown = (exact ? options : options.filter((option) => option.toLowerCase().includes(wanted))).slice(0, MOST_SHOWN);

  const choose = (option: string) => {
    setOpen(false);
    setActive(-1);
    onChoose(option);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // What an input method is still composing is not chosen yet.
    if (event.nativeEvent.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      setOpen(true);
      setActive(shown.length === 0 ? -1 : (Math.max(active, step > 0 ? -1 : 0) + step + shown.length) % shown.length);
    } else if (event.key === "Enter") {
      choose((open ? shown[active] : undefined) ?? value);
    } else if (event.key === "Escape" && open) {
      setOpen(false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="combobox">
      <input
        className="input"
        role="combobox"
        aria-label={label}
        placeholder={label}
        aria-expanded={open}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={open && active >= 0 ? `${id}-${active}` : undefined}
        autoComplete="off"
        spellCheck={false}
        autoFocus={autoFocus}
        value={value}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
        onChange={(event) => {
          setOpen(true);
          setActive(-1);
          onChange(event.target.value);
        }}
      />
      {open && (
        <ul ref={withinWindow} id={`${id}-list`} className="combobox-list" role="listbox" aria-label={label} aria-busy={loading}>
          {shown.map((option, i) => (
            <li
              key={option}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === active}
              // Before the field loses the focus, which closes the list.
              onPointerDown={(event) => {
                event.preventDefault();
                choose(option);
              }}
            >
              {visible(option)}
              {hints?.has(option) && <span className="soft combobox-hint" aria-hidden="true">{hints.get(option)}</span>}
            </li>
          ))}
          {shown.length === 0 && <li className="soft">{loading ? "…" : nothing}</li>}
        </ul>
      )}
    </div>
  );
}
