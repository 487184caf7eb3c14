import { type RefObject, useEffect } from "react";
import { type Flame, shareOf } from "../profile/flame";
import type { SearchResult } from "../profile/search";
import { formatShare } from "../profile/units";
import { text } from "../text";

interface Props {
  field: RefObject<HTMLInputElement | null>;
  value: string;
  onChange: (value: string) => void;
  found: SearchResult | null;
  flame: Flame | undefined;
}

/** The search that the flame graph and the table share; `/` leads here from everywhere. */
export function SearchField({ field, value, onChange, found, flame }: Props) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.closest("input, select, textarea") !== null;
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      field.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [field]);
  return (
    <>
      <input
        ref={field}
        className="input search-field"
        type="search"
        aria-label={text.flame.search}
        placeholder={text.flame.search}
        spellCheck={false}
        autoComplete="off"
        value={value}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onChange("");
        }}
      />
      <span className="soft" role="status">
        {found && flame && (found.matches === 0 ? text.flame.nothingFound : text.flame.found(found.matches, formatShare(shareOf(flame, found.total))))}
        {found?.problem && ` ${text.flame.noRegex(found.problem)}`}
      </span>
    </>
  );
}
