import { followLink, usePath } from "../url/navigation";
import { toggleTheme, useTheme } from "../style/theme";
import { text } from "../text";
import "./shell.css";

export function Header() {
  const path = usePath();
  const theme = useTheme();
  const label = theme === "dark" ? text.nav.toLight : text.nav.toDark;
  return (
    <header className="header">
      <a className="brand" href="/" onClick={followLink}>
        <img src="/assets/everflame.svg" alt="" width="24" height="24" />
        {text.product}
      </a>
      <nav className="nav">
        <a href="/" onClick={followLink} aria-current={path === "/" ? "page" : undefined}>
          {text.nav.services}
        </a>
        <a href="/explore" onClick={followLink} aria-current={path === "/explore" ? "page" : undefined}>
          {text.nav.explore}
        </a>
      </nav>
      <span className="grow" />
      <button type="button" className="button quiet" onClick={toggleTheme} aria-label={label} title={label}>
        <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="6.5" fill="none" stroke="currentColor" strokeWidth="1.5" />
          <path d="M8 1.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />
        </svg>
      </button>
    </header>
  );
}
