// What the server does and what it keeps: what came in, what was turned away and why, what is stored.

import { type ReactNode, useEffect, useState } from "react";
import { getJson } from "../api/client";
import { useQuery } from "../api/use-query";
import { formatValue, threeDigits } from "../profile/units";
import { Failure } from "../shell/Failure";
import { text } from "../text";
import { DroppedPanel } from "./Dropped";
import { Clients, SlowQueries } from "./Activity";
import { ExpiringPanel } from "./Expiring";
import { StoragePanel } from "./Storage";
import "./status.css";

const POLL_MS = 5000;

export function StatusPage() {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    document.title = `${text.status.title} · ${text.product}`;
    const timer = setInterval(() => document.visibilityState === "visible" && setNow(Date.now()), POLL_MS);
    return () => clearInterval(timer);
  }, []);
  const status = useQuery(`status ${now}`, async (signal) => ({ at: Date.now(), ...(await getJson("/api/v1/status", signal)) }));
  const [before, setBefore] = useState<{ at: number; received: number; bytes: number } | null>(null);
  const [rate, setRate] = useState<{ profiles: number; bytes: number } | null>(null);
  const { data } = status;
  useEffect(() => {
    if (!data || status.stale) return;
    const next = { at: data.at, received: data.ingest.received, bytes: data.ingest.receivedBytes };
    const seconds = before ? (next.at - before.at) / 1000 : 0;
    if (before && seconds > 0) setRate({ profiles: Math.max(0, next.received - before.received) / seconds, bytes: Math.max(0, next.bytes - before.bytes) / seconds });
    setBefore(next);
  }, [data?.at]);

  const ingest = data?.ingest;
  const lake = data?.lake;
  const rejected = Object.entries(ingest?.rejected ?? {});
  const lost = rejected.reduce((sum, [, count]) => sum + count, 0);
  return (
    <main className="page">
      <div className="services-bar">
        <h1>{text.status.title}</h1>
        {data?.version && <span className="soft">{text.status.version(data.version)}</span>}
      </div>
      {status.error && <Failure error={status.error} />}
      {!data && !status.error && <div className="skeleton page-skeleton" />}
      {ingest && lake && (
        <div className="status-grid">
          <Panel title={text.status.ingest}>
            <Fact name={text.status.rate} value={rate ? text.status.perSecond(threeDigits(rate.profiles), formatValue(rate.bytes, "bytes")) : "…"} />
            <Fact name={text.status.received} value={count(ingest.received)} detail={formatValue(ingest.receivedBytes, "bytes")} />
            <Fact name={text.status.stored} value={count(ingest.stored)} />
            <Fact name={text.status.samples} value={count(ingest.samples)} />
            <Fact name={text.status.deduplicated} value={count(ingest.deduplicated)} />
          </Panel>
          <Panel title={text.status.dropped}>
            {lost === 0 && <p className="soft">{text.status.nothingDropped}</p>}
            {rejected
              .filter(([, count]) => count > 0)
              .map(([reason, n]) => (
                <Fact key={reason} name={text.status.reasons[reason] ?? reason} value={count(n)} />
              ))}
            <Fact name={text.status.labelsDropped} value={count(ingest.labelsDropped)} />
            <Fact name={text.status.stacksCut} value={count(ingest.stacksCut)} />
            <Fact name={text.status.stringsCut} value={count(ingest.stringsCut)} />
          </Panel>
          <ExpiringPanel expiring={lake.expiring} bytes={lake.bytes} limit={lake.bytesLimit ?? 0} />
          <Panel title={text.status.memory}>
            <Fact
              name={text.status.head}
              value={formatValue(lake.headBytes, "bytes")}
              detail={text.status.of(formatValue(lake.headBytesLimit, "bytes"))}
              share={lake.headBytes / Math.max(1, lake.headBytesLimit)}
            />
            <Fact name={text.status.headProfiles} value={count(lake.headProfiles)} />
            <Fact name={text.status.series} value={count(lake.series)} />
            <Fact name={text.status.wal} value={formatValue(lake.walBytes, "bytes")} />
            <Fact name={text.status.walDamaged} value={count(lake.walDamagedRecords)} />
            <Fact name={text.status.flushes} value={count(lake.flushes)} detail={text.status.failed(count(lake.flushFailures))} />
          </Panel>
          <StoragePanel now={now} />
          <SlowQueries now={now} />
          <Clients now={now} />
          <Panel title={text.status.storage}>
            <table className="status-table">
              <thead>
                <tr>
                  <th scope="col">{text.status.table}</th>
                  <th scope="col">{text.status.files}</th>
                  <th scope="col">{text.status.size}</th>
                </tr>
              </thead>
              <tbody>
                {lake.tables.map((table) => (
                  <tr key={table.name}>
                    <th scope="row" className="mono">
                      {table.name}
                    </th>
                    <td>{count(table.files)}</td>
                    <td>{formatValue(table.bytes, "bytes")}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Panel>
        </div>
      )}
      <DroppedPanel now={now} />
    </main>
  );
}

const count = (value: number) => value.toLocaleString("en");

function Panel({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      <h2>{title}</h2>
      <div className="status-facts">{children}</div>
    </section>
  );
}

function Fact({ name, value, detail, share }: { name: string; value: string; detail?: string; share?: number }) {
  return (
    <div className="status-fact">
      <span className="soft">{name}</span>
      <span>
        <strong>{value}</strong> {detail && <span className="soft">{detail}</span>}
      </span>
      {share !== undefined && (
        <span className="status-bar">
          <span style={{ width: `${Math.min(100, share * 100)}%` }} />
        </span>
      )}
    </div>
  );
}
