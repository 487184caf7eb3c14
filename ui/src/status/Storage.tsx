// Who takes the room: what each service has on disk, by how far it is summed up.

import { useState } from "react";
import { getJson } from "../api/client";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { formatValue } from "../profile/units";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import { followLink } from "../url/navigation";
import { exploreUrl } from "../url/state";
import { sumOf, type TierRow, tierRow, TIERS } from "./tiers";

const SHOWN = 12;
/** What is on disk changes by the minute, and reading it costs more than the other figures. */
const EVERY_MS = 30_000;

export function StoragePanel({ now }: { now: number }) {
  const [all, setAll] = useState(false);
  const storage = useQuery(`storage ${Math.floor(now / EVERY_MS)}`, (signal) => getJson("/api/v1/status/storage", signal));
  const rows = (storage.data?.services ?? []).map(tierRow);
  const whole = sumOf(rows, text.status.allServices);
  const shown = all ? rows : rows.slice(0, SHOWN);
  const rest = rows.slice(shown.length);
  const unknown = storage.data?.unknownBytes ?? 0;
  return (
    <section className="panel status-wide" aria-label={text.status.storageOf}>
      <h2>{text.status.storageOf}</h2>
      {storage.error && <Failure error={storage.error} />}
      {!storage.data && !storage.error && <div className="skeleton" />}
      {storage.data && rows.length === 0 && <p className="soft">{text.status.nothingStored}</p>}
      {rows.length > 0 && (
        <>
          <p className="soft">{text.status.tiersHint}</p>
          <div className="status-scroll" tabIndex={0} role="region" aria-label={text.status.storageOf}>
            <table className="status-table status-list">
              <thead>
                <tr>
                  <th scope="col">{text.status.whose}</th>
                  {TIERS.map((tier) => (
                    <th key={tier} scope="col">
                      {text.status.tiers[tier]}
                    </th>
                  ))}
                  <th scope="col">{text.status.size}</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((row) => (
                  <Row key={row.name} row={row} whole={whole} link />
                ))}
                {rest.length > 0 && <Row row={sumOf(rest, text.status.otherServices(rest.length))} whole={whole} />}
              </tbody>
              <tfoot className="status-foot">
                <Row row={whole} whole={whole} />
              </tfoot>
            </table>
          </div>
          {rest.length > 0 && (
            <button type="button" className="button status-more" onClick={() => setAll(true)}>
              {text.status.showServices(rows.length)}
            </button>
          )}
        </>
      )}
      {unknown > 0 && <p className="soft">{text.status.notKnown(formatValue(unknown, "bytes"))}</p>}
    </section>
  );
}

function Row({ row, whole, link = false }: { row: TierRow; whole: TierRow; link?: boolean }) {
  const size = (bytes: number) => (bytes === 0 ? <span className="soft">–</span> : formatValue(bytes, "bytes"));
  return (
    <tr>
      <th scope="row" className="status-share">
        {link && whole.bytes > 0 && <span className="status-used" style={{ width: `${(row.bytes / whole.bytes) * 100}%` }} />}
        {link ? (
          <a href={exploreUrl({ service: row.name })} onClick={followLink}>
            {visible(row.name)}
          </a>
        ) : (
          row.name
        )}
      </th>
      {TIERS.map((tier) => (
        <td key={tier}>{size(row.tiers[tier])}</td>
      ))}
      <td>{size(row.bytes)}</td>
    </tr>
  );
}
