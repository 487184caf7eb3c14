import type { Status } from "../api/openapi";
import { formatValue } from "../profile/units";
import { clock } from "../shell/clock";
import { text } from "../text";

/** Retention: how full the store is, and what goes next. */
export function ExpiringPanel({ expiring, bytes, limit }: { expiring: Status["lake"]["expiring"]; bytes: number; limit: number }) {
  return (
    <section className="panel" aria-label={text.status.retention}>
      <h2>{text.status.retention}</h2>
      <p>
        {formatValue(bytes, "bytes")} <span className="soft">{limit > 0 ? text.status.of(formatValue(limit, "bytes")) : text.status.noLimit}</span>
      </p>
      {expiring.length === 0 ? (
        <p className="soft">{text.status.nothingGoes}</p>
      ) : (
        <table className="status-table">
          <thead>
            <tr>
              <th scope="col">{text.status.goesNext}</th>
              <th scope="col">{text.status.size}</th>
              <th scope="col">{text.status.goesAt}</th>
            </tr>
          </thead>
          <tbody>
            {expiring.map((next) => (
              <tr key={next.table}>
                <th scope="row" className="mono">
                  {next.table}
                </th>
                <td>{formatValue(next.bytes, "bytes")}</td>
                <td>{Number.isNaN(Date.parse(next.at)) ? "–" : clock.minute(Date.parse(next.at))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
