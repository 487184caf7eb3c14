// One card a service: what it sends, how much it uses, and the way into its flame graphs.

import { useEffect, useMemo, useState } from "react";
import { selectSeries, type Service, services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { compile } from "../profile/search";
import { parseProfileType } from "../profile/profile-type";
import { SERVICE_LABEL } from "../profile/selector";
import { formatSpan, type Range } from "../profile/time";
import { fineStep, type Timeline, timelineOf } from "../profile/timeline";
import { Failure } from "../shell/Failure";
import { TimeRange } from "../shell/TimeRange";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { readServices, servicesUrl } from "../url/state";
import { FirstProfile } from "./FirstProfile";
import { ServiceCard } from "./ServiceCard";
import "./services.css";

const POLL_MS = 3000;
const SKELETONS = 6;
const EVER_MS = 365 * 86_400_000;

export function ServicesPage() {
  const state = readServices(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useQuery(`services ${range.from} ${range.until}`, (signal) => askServices(range, signal));
  const trends = useTrends(list.data, range);

  const empty = list.data?.length === 0 && !list.stale;
  // An empty range of a server that has profiles is not the same as a server that has none.
  const [ever] = useState(() => ({ from: Date.now() - EVER_MS, until: Date.now() }));
  const earlier = useQuery(empty ? `services ${ever.from} ${ever.until}` : null, (signal) => askServices(ever, signal));
  const hasEarlier = (earlier.data?.length ?? 0) > 0;
  useEffect(() => {
    if (!empty) return;
    const timer = setInterval(refresh, POLL_MS);
    return () => clearInterval(timer);
  }, [empty]);
  useEffect(() => {
    document.title = `${text.services.title} · ${text.product}`;
  }, []);

  const matcher = useMemo(() => compile(state.search), [state.search]);
  const shown = list.data?.filter((service) => matcher.test(service.name));
  const meanHint = state.until === "now" ? text.services.mean(formatSpan(range.until - range.from)) : text.services.meanRange;

  return (
    <main className="page">
      <div className="services-bar">
        <h1>{text.services.title}</h1>
        {list.data && !empty && <span className="soft">{text.services.found(list.data.length)}</span>}
        <span className="grow" />
        <input
          className="input services-search"
          type="search"
          aria-label={text.services.search}
          placeholder={text.services.search}
          value={state.search}
          onChange={(event) => amend(servicesUrl({ ...state, search: event.target.value }))}
        />
        <TimeRange from={state.from} until={state.until} onChange={(from, until) => visit(servicesUrl({ ...state, from, until }))} onRefresh={refresh} />
      </div>
      {list.error && <Failure error={list.error} onRetry={refresh} />}
      {!list.data && !list.error && (
        <ul className="cards" aria-busy="true">
          {Array.from({ length: SKELETONS }, (_, i) => (
            <li key={i} className="card skeleton" />
          ))}
        </ul>
      )}
      {empty && !list.error && !earlier.loading && !hasEarlier && <FirstProfile />}
      {empty && !list.error && hasEarlier && (
        <div className="notice">
          <div className="grow">
            <strong>{text.services.emptyRangeTitle}</strong>
            <p>{text.services.emptyRangeHint}</p>
          </div>
          <button type="button" className="button" onClick={() => visit(servicesUrl({ ...state, from: "now-365d", until: "now" }))}>
            {text.services.lastYear}
          </button>
        </div>
      )}
      {shown && shown.length > 0 && (
        <ul className="cards" aria-busy={list.stale}>
          {shown.map((service) => (
            <ServiceCard
              key={service.name}
              service={service}
              timeline={trends === undefined ? undefined : (trends.get(service.name) ?? null)}
              from={state.from}
              until={state.until}
              meanHint={meanHint}
            />
          ))}
        </ul>
      )}
      {shown?.length === 0 && !empty && <p className="soft">{text.services.noMatch(state.search)}</p>}
    </main>
  );
}

/** One question a profile type, not one a service. */
function useTrends(services: Service[] | undefined, range: Range): Map<string, Timeline> | undefined {
  const mainTypes = new Set(services?.map((service) => service.types[0]!.id));
  const key = services ? `trends ${[...mainTypes].join(" ")} ${range.from} ${range.until}` : null;
  const trends = useQuery(key, async (signal) => {
    const byService = new Map<string, Timeline>();
    const mainType = new Map(services!.map((service) => [service.name, service.types[0]!.id]));
    await Promise.all(
      [...mainTypes].map(async (id) => {
        const type = parseProfileType(id)!;
        for (const series of await selectSeries(type, "{}", range, [SERVICE_LABEL], signal)) {
          const name = series.labels.get(SERVICE_LABEL) ?? "";
          if (mainType.get(name) === id) byService.set(name, timelineOf(type, series.points, range, fineStep(range)));
        }
      }),
    );
    return byService;
  });
  return trends.error ? new Map() : trends.data;
}
