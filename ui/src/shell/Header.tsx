import { useEffect, useRef, useState } from "react";
import { toggleTheme, useTheme } from "../style/theme";
import { LANGUAGES, type Language, language, text } from "../text";
import { followLink, usePath } from "../url/navigation";
import { Popover } from "../views/Popover";
import type { Zone } from "../profile/time";
import { chooseZone, useZone } from "./clock";
import { ConnectionNotice } from "./ConnectionNotice";
import { chooseLanguage } from "./language";
import { PAGES } from "./pages";
import { Palette } from "./Palette";
import { ShareLink } from "./ShareLink";
import "./shell.css";

export function Header() {
  const path = usePath();
  const theme = useTheme();
  const zone = useZone();
  const [palette, setPalette] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPalette(true);
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  // On a narrow screen the page one is on may lie outside of the row of pages.
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    // What it returns (a promise, in newer browsers) must not become the effect's cleanup.
    void nav.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [path]);
  const label = theme === "dark" ? text.nav.toLight : text.nav.toDark;
  return (
    <>
      <header className="header">
        <a className="brand" href="/" onClick={followLink}>
          <img src="/assets/everflame.svg" alt="" width="24" height="24" />
          <span className="brand-name">{text.product}</span>
        </a>
        <nav ref={nav} className="nav" aria-label={text.nav.label}>
          {PAGES.map(({ name, href }) => (
            <a key={name} href={href} onClick={followLink} aria-current={path === href ? "page" : undefined}>
              {text.nav[name]}
            </a>
          ))}
        </nav>
        <span className="grow" />
        <button type="button" className="button quiet palette-open" onClick={() => setPalette(true)} title={text.nav.paletteHint}>
          <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round">
            <path d="M7 12a5 5 0 1 1 0-10 5 5 0 0 1 0 10zM10.8 10.8 14 14" />
          </svg>
          <span>{text.nav.palette}</span>
          <kbd aria-hidden="true">Ctrl K</kbd>
        </button>
        <ShareLink />
        <Popover label={<span className="header-settings">{zone === "utc" ? "UTC" : text.nav.zoneShort}</span>} className="button quiet">
          {(close) => (
            <div className="options">
              <label>
                {text.nav.zone}
                <select className="select" value={zone} onChange={(event) => {
                    close();
                    chooseZone(event.target.value as Zone);
                  }}
                >
                  <option value="local">{text.nav.zones.local}</option>
                  <option value="utc">{text.nav.zones.utc}</option>
                </select>
              </label>
              <label>
                {text.nav.language}
                <select className="select" value={language} onChange={(event) => chooseLanguage(event.target.value as Language)}>
                  {Object.entries(LANGUAGES).map(([code, name]) => (
                    <option key={code} value={code} lang={code}>
                      {name}
                    </option>
                  ))}
                </select>
              </label>
            </div>
          )}
        </Popover>
        <button type="button" className="button quiet" onClick={toggleTheme} aria-label={label} title={label}>
          <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
            <circle cx="8" cy="8" r="6.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
            <path d="M8 1.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />
          </svg>
        </button>
      </header>
      <ConnectionNotice />
      {palette && <Palette onClose={() => setPalette(false)} />}
    </>
  );
}
