import { useState } from "react";
import { text } from "../text";
import { copyText } from "../views/copy";
import { type Sender, SENDERS, snippet } from "./snippets";

/** One way of sending at a time, filled in with this server's address. */
export function Snippets() {
  const [sender, setSender] = useState<Sender>("curl");
  const [copied, setCopied] = useState(false);
  const code = snippet(sender, location.origin);
  return (
    <>
      <div className="first-tabs" role="group" aria-label={text.setup.senders}>
        {SENDERS.map((name) => (
          <button
            key={name}
            type="button"
            className="button"
            aria-pressed={sender === name}
            onClick={() => {
              setSender(name);
              setCopied(false);
            }}
          >
            {name}
          </button>
        ))}
      </div>
      <div className="first-code">
        <pre tabIndex={0}>{code}</pre>
        <button
          type="button"
          className="button"
          onClick={() => {
            copyText(code);
            setCopied(true);
          }}
        >
          {copied ? text.services.copied : text.services.copy}
        </button>
      </div>
    </>
  );
}
