// What was not stored as it came: why, how much, whose it was, and an example of each.

import { useQuery } from "../api/use-query";
import { getJson } from "../api/client";
import { formatValue } from "../profile/units";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import { agoOf, labelsOf } from "./dropped";

export function DroppedPanel({ now }: { now: number }) {
  const report = useQuery(`dropped ${now}`, (signal) => getJson("/api/v1/status/dropped", signal));
  const { data } = report;
  return (
    <section className="panel status-dropped" aria-label={text.status.droppedFor}>
      <h2>{text.status.droppedFor}</h2>
      {report.error && <Failure error={report.error} />}
      {data && data.dropped.length === 0 && <p className="soft">{text.status.nothingDropped}</p>}
      {data && data.dropped.length > 0 && (
        <div className="status-scroll">
          <table className="status-table">
            <thead>
              <tr>
                <th scope="col">{text.status.whose}</th>
                <th scope="col">{text.status.why}</th>
                <th scope="col">{text.status.howMuch}</th>
                <th scope="col">{text.status.size}</th>
                <th scope="col">{text.status.last}</th>
              </tr>
            </thead>
            <tbody>
              {data.dropped.map((entry) => (
                <tr key={`${entry.service ?? ""} ${entry.reason}`}>
                  <th scope="row" className="mono">
                    {entry.service ?? text.status.unknownService}
                  </th>
                  <td>
                    {text.status.reasons[entry.reason] ?? entry.reason}
                    <details>
                      <summary>{text.status.example}</summary>
                      <p className="soft">{entry.example.message}</p>
                      <p className="mono soft">{labelsOf(entry.example.labels)}</p>
                    </details>
                  </td>
                  <td>{text.status.pieces[entry.what]?.(entry.count) ?? entry.count}</td>
                  <td>{entry.bytes > 0 ? formatValue(entry.bytes, "bytes") : ""}</td>
                  <td>{text.status.ago(formatValue(agoOf(entry.last, data.now), "nanoseconds"))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
