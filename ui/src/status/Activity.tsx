// What the server was asked lately: its slowest queries, and who sends to it and asks it.

import { getJson } from "../api/client";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { formatSpan } from "../profile/time";
import { clock } from "../shell/clock";
import { Failure } from "../shell/Failure";
import { text } from "../text";

const SHOWN_QUERIES = 10;
const SHOWN_CLIENTS = 20;

const count = (value: number) => value.toLocaleString("en");

/** `now` is when to look anew. */
export function SlowQueries({ now }: { now: number }) {
  const answer = useQuery(`slow-queries ${now}`, (signal) => getJson("/api/v1/status/queries", signal));
  const queries = answer.data?.queries ?? [];
  return (
    <section className="panel status-wide" aria-label={text.status.slow}>
      <h2>{text.status.slow}</h2>
      {answer.error && <Failure error={answer.error} />}
      {answer.data && queries.length === 0 && <p className="soft">{text.status.noQueries}</p>}
      {queries.length > 0 && (
        <div className="status-scroll" tabIndex={0} role="region" aria-label={text.status.slow}>
          <table className="status-table status-list">
            <thead>
              <tr>
                <th scope="col">{text.status.query}</th>
                <th scope="col">{text.status.took}</th>
                <th scope="col">{text.status.rowsRead}</th>
                <th scope="col">{text.status.span}</th>
                <th scope="col">{text.status.when}</th>
              </tr>
            </thead>
            <tbody>
              {queries.slice(0, SHOWN_QUERIES).map((query, i) => (
                <tr key={i}>
                  <th scope="row">
                    <span className="soft">{text.status.queryKinds[query.kind] ?? query.kind}</span> <span className="mono">{visible(query.query)}</span>
                  </th>
                  <td>{formatSpan(query.milliseconds)}</td>
                  <td>{count(query.rows)}</td>
                  <td>{formatSpan(Math.max(0, query.until - query.from))}</td>
                  <td>{clock.minute(query.at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** Who sends profiles and who asks, by what they call themselves. */
export function Clients({ now }: { now: number }) {
  const answer = useQuery(`clients ${now}`, (signal) => getJson("/api/v1/status/clients", signal));
  const clients = answer.data?.clients ?? [];
  return (
    <section className="panel status-wide" aria-label={text.status.clients}>
      <h2>{text.status.clients}</h2>
      {answer.error && <Failure error={answer.error} />}
      {clients.length > 0 && (
        <div className="status-scroll" tabIndex={0} role="region" aria-label={text.status.clients}>
          <table className="status-table status-list">
            <thead>
              <tr>
                <th scope="col">{text.status.agent}</th>
                <th scope="col">{text.status.wire}</th>
                <th scope="col">{text.status.requests}</th>
                <th scope="col">{text.status.lastSeen}</th>
              </tr>
            </thead>
            <tbody>
              {clients.slice(0, SHOWN_CLIENTS).map(({ wire, agent, last, requests }) => (
                <tr key={`${wire} ${agent}`}>
                  <th scope="row">{visible(agent) || text.status.noAgent}</th>
                  <td>{text.status.wires[wire] ?? wire}</td>
                  <td>{count(requests)}</td>
                  <td>{text.services.seen(formatSpan(Math.max(1000, Math.round((now - last) / 1000) * 1000)))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
