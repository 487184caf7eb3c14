// Copies a short link to what is looked at. The server keeps where it leads.

import { useState } from "react";
import { postJson } from "../api/client";
import { text } from "../text";
import { copyText } from "../views/copy";

const SHOWN_MS = 2500;

async function shortLink(): Promise<string> {
  const { url } = await postJson("/api/v1/links", { url: location.pathname + location.search });
  return new URL(url, location.href).href;
}

export function ShareLink() {
  const [said, setSaid] = useState("");
  const say = (what: string) => {
    setSaid(what);
    setTimeout(() => setSaid(""), SHOWN_MS);
  };
  const share = () => {
    shortLink().then(
      (url) => {
        copyText(url);
        say(text.nav.linkCopied);
      },
      // Without a short one the whole address does it.
      () => {
        copyText(location.href);
        say(text.nav.longLinkCopied);
      },
    );
  };
  return (
    <span className="share-link">
      <button type="button" className="button quiet" onClick={share} aria-label={text.nav.share} title={text.nav.share}>
        <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round">
          <path d="M6.5 9.5l3-3M7 4.5l1.6-1.6a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5l-1.6 1.6a3.2 3.2 0 0 1-4.5-4.5L4.5 7" />
        </svg>
      </button>
      <span className="share-said" role="status">
        {said}
      </span>
    </span>
  );
}
