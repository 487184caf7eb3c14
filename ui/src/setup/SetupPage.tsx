// How to send profiles here, and the news when the first ones arrive.

import { useEffect, useState } from "react";
import { services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import { followLink } from "../url/navigation";
import { exploreUrl } from "../url/state";
import { ever } from "../query-bar/NotInRange";
import { Snippets } from "./Snippets";
import "./setup.css";

const POLL_MS = 2000;
const LOOK_BACK_MS = 3_600_000;
const FEW = 100;

export function SetupPage() {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    document.title = `${text.setup.title} · ${text.product}`;
    const timer = setInterval(() => setNow(Date.now()), POLL_MS);
    return () => clearInterval(timer);
  }, []);
  // The profiles of files are of long ago; a server with little in it is asked for all of its time.
  const [few, setFew] = useState(true);
  const range = few ? ever() : { from: now - LOOK_BACK_MS, until: now };
  const list = useQuery(`services ${range.from} ${now}`, (signal) => askServices(range, signal));
  const [known, setKnown] = useState<ReadonlySet<string> | null>(null);
  useEffect(() => {
    if (!list.data || known !== null) return;
    setKnown(new Set(list.data.map(({ name }) => name)));
    setFew(list.data.length <= FEW);
  }, [list.data]);
  // Asked again every moment: a refusal stands until there is an answer.
  const [refused, setRefused] = useState<Error | null>(null);
  useEffect(() => {
    if (list.error) setRefused(list.error);
    else if (list.data && !list.loading) setRefused(null);
  }, [list.error, list.data, list.loading]);
  const fresh = known === null ? [] : (list.data ?? []).filter(({ name }) => !known.has(name));
  return (
    <main className="page">
      <h1>{text.setup.title}</h1>
      <div className="first">
        <p className="soft">{text.setup.hint}</p>
        <Snippets />
        <div role="status">
          {refused ? (
            <Failure error={refused} />
          ) : fresh.length === 0 ? (
            <p className="first-waiting">
              <span className="first-dot" aria-hidden="true" />
              {text.setup.waiting}
            </p>
          ) : (
            <ul className="first-arrived">
              {fresh.map(({ name, types }) => (
                <li key={name}>
                  <strong>{text.setup.arrived(visible(name))}</strong>{" "}
                  <a href={exploreUrl({ service: name, type: types[0]!.id })} onClick={followLink}>
                    {text.setup.look}
                  </a>
                </li>
              ))}
            </ul>
          )}
        </div>
      </div>
      {known !== null && known.size > 0 && <p className="soft">{text.setup.already(known.size)}</p>}
    </main>
  );
}
