// Ctrl+K: every page, every service and the settings, by a few letters of their names.

import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { toggleTheme, useTheme } from "../style/theme";
import { text } from "../text";
import { visit } from "../url/navigation";
import { compareUrl, exploreUrl } from "../url/state";
import { chooseZone, useZone } from "./clock";
import { PAGES } from "./pages";

const MOST_SHOWN = 12;
const LOOK_BACK_MS = 86_400_000;

interface Entry {
  label: string;
  detail: string;
  run: () => void;
}

export function Palette({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const theme = useTheme();
  const otherZone = useZone() === "utc" ? "local" : "utc";
  const [typed, setTyped] = useState("");
  const [active, setActive] = useState(0);
  const [range] = useState(() => ({ from: Date.now() - LOOK_BACK_MS, until: Date.now() }));
  const list = useQuery(`services ${range.from} ${range.until}`, (signal) => askServices(range, signal));
  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  const entries: Entry[] = [
    ...PAGES.map(({ name, href }) => ({ label: text.nav[name], detail: "", run: () => visit(href) })),
    ...(list.data ?? []).flatMap(({ name, types }) => {
      const side = { service: name, filters: [], from: "now-1h", until: "now" };
      return [
        { label: visible(name), detail: text.nav.explore, run: () => visit(exploreUrl({ service: name, type: types[0]?.id ?? "" })) },
        {
          label: visible(name),
          detail: text.compare.baselines.yesterday,
          run: () => visit(compareUrl({ type: types[0]?.id ?? "", before: { ...side, from: "now-25h", until: "now-24h" }, after: side })),
        },
      ];
    }),
    { label: theme === "dark" ? text.nav.toLight : text.nav.toDark, detail: "", run: toggleTheme },
    { label: `${text.nav.zone}: ${text.nav.zones[otherZone]}`, detail: "", run: () => chooseZone(otherZone) },
  ];
  const wanted = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries.filter(({ label, detail }) => wanted.every((word) => `${label} ${detail}`.toLowerCase().includes(word))).slice(0, MOST_SHOWN);

  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // What an input method is still composing is not chosen yet.
    if (event.nativeEvent.isComposing) return;
    if (event.key === "ArrowDown") setActive((active + 1) % Math.max(1, found.length));
    else if (event.key === "ArrowUp") setActive((active - 1 + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter") choose(found[active]);
    else return;
    event.preventDefault();
  };
  return (
    <dialog ref={dialog} className="palette" aria-label={text.nav.paletteHint} onClose={onClose} onClick={(event) => event.target === dialog.current && onClose()}>
      <input
        className="input"
        role="combobox"
        aria-label={text.nav.paletteHint}
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[active] ? `palette-${active}` : undefined}
        placeholder={text.nav.paletteHint}
        value={typed}
        autoFocus
        onChange={(event) => {
          setTyped(event.target.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul id="palette-list" role="listbox" aria-label={text.nav.paletteHint}>
        {found.map((entry, i) => (
          <li key={`${entry.label} ${entry.detail}`} id={`palette-${i}`} role="option" aria-selected={i === active} onClick={() => choose(entry)}>
            {entry.label}
            <span className="soft">{entry.detail}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="soft">{text.nav.paletteNothing}</p>}
    </dialog>
  );
}
