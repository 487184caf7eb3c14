import { text } from "../text";
import { Snippets } from "./Snippets";
import "./setup.css";

/** What a server without profiles shows first. */
export function FirstProfile() {
  return (
    <div className="first">
      <h2>{text.services.emptyTitle}</h2>
      <p className="soft">{text.services.emptyHint}</p>
      <Snippets />
      <p className="first-waiting" role="status">
        <span className="first-dot" aria-hidden="true" />
        {text.services.waiting}
      </p>
    </div>
  );
}
