// One row a service: what it sends, how much it uses, how that compares with last week, and the way into
// its flame graphs.

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { allLabelNames, services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { compile } from "../profile/search";
import type { Range } from "../profile/time";
import { Failure } from "../shell/Failure";
import { TimeRange } from "../shell/TimeRange";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { ever, NotInRange } from "../query-bar/NotInRange";
import { FirstProfile } from "../setup/FirstProfile";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { readServices, type ServicesState, servicesUrl } from "../url/state";
import { arrange, type Item, type Sort, SORTS } from "./arrange";
import { ServiceRow } from "./ServiceRow";
import "./services.css";
import { MANY, useTrends } from "./use-trends";

const POLL_MS = 3000;
const SKELETONS = 6;
const ROW_HEIGHT = 64;
const NARROW_ROW_HEIGHT = 104;
const NARROW = "(max-width: 640px)";

export function ServicesPage() {
  const state = readServices(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useQuery(`services ${range.from} ${range.until} ${state.by}`, (signal) => askServices(range, signal, state.by));
  const labels = useQuery(`label-names ${range.from} ${range.until}`, (signal) => allLabelNames(range, signal));
  const trends = useTrends(list.data, range);

  const unread = unreadOf(state);
  const empty = list.data?.length === 0 && !list.stale;
  // An empty range of a server that has profiles is not the same as a server that has none.
  const whole = ever();
  // Asked again with each look at the range: the first profile may be one of long ago.
  const earlier = useQuery(empty ? `earlier ${range.until}` : null, (signal) => askServices(whole, signal));
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
  const sort = SORTS.find((each) => each === state.sort) ?? "name";
  const items = useMemo(() => {
    const found = (list.data ?? []).filter((service) => matcher.test(service.name));
    const factsOf = ({ name }: { name: string }) => ({
      sum: trends.now?.get(name)?.sum ?? 0,
      lastWeek: trends.lastWeek?.get(name) ?? 0,
      lastSeen: trends.now?.get(name)?.lastSeen ?? 0,
    });
    return arrange(found, sort, factsOf, state.by);
  }, [list.data, matcher, sort, state.by, trends.now, trends.lastWeek]);
  const go = (change: Partial<ServicesState>) => visit(servicesUrl({ ...state, ...change }));

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
        <select className="select" aria-label={text.services.sort} value={sort} onChange={(event) => go({ sort: event.target.value as Sort })}>
          {SORTS.map((each) => (
            <option key={each} value={each}>
              {text.services.sorts[each]}
            </option>
          ))}
        </select>
        <select className="select" aria-label={text.services.group} value={state.by} onChange={(event) => go({ by: event.target.value })}>
          <option value="">{text.services.notGrouped}</option>
          {[...new Set([...(labels.data ?? []), ...(state.by ? [state.by] : [])])].map((name) => (
            <option key={name} value={name}>
              {text.explore.byLabel(visible(name))}
            </option>
          ))}
        </select>
        <TimeRange from={state.from} until={state.until} onChange={(from, until) => go({ from, until })} onRefresh={refresh} />
      </div>
      {unread.length > 0 ? (
        <Unreadable problems={unread} go={go} />
      ) : (
        <>
          {list.error && <Failure error={list.error} />}
          {list.data && !empty && trends.error && <Failure error={trends.error} />}
          {!list.data && !list.error && (
            <ul className="services" aria-busy="true">
              {Array.from({ length: SKELETONS }, (_, i) => (
                <li key={i} className="service skeleton" />
              ))}
            </ul>
          )}
          {empty && !list.error && !(earlier.loading && !earlier.data) && !hasEarlier && <FirstProfile />}
          {empty && !list.error && hasEarlier && (
            <NotInRange service="" go={go} />
          )}
          {items.length > 0 && <Rows items={items} state={state} trends={trends} range={range} isRough={(list.data?.length ?? 0) > MANY} stale={list.stale} />}
          {items.length === 0 && list.data && !empty && <p className="soft">{text.services.noMatch(state.search)}</p>}
        </>
      )}
    </main>
  );
}

interface RowsProps {
  items: Item[];
  state: ServicesState;
  trends: ReturnType<typeof useTrends>;
  range: Range;
  isRough: boolean;
  stale: boolean;
}

/** Only the rows on the screen exist: a thousand services scroll as ten do. */
function Rows({ items, state, trends, range, isRough, stale }: RowsProps) {
  const host = useRef<HTMLUListElement>(null);
  const [offset, setOffset] = useState(0);
  const [narrow, setNarrow] = useState(() => window.matchMedia(NARROW).matches);
  useEffect(() => {
    const query = window.matchMedia(NARROW);
    const follow = () => setNarrow(query.matches);
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }, []);
  useLayoutEffect(() => setOffset(host.current?.offsetTop ?? 0), [narrow]);
  const height = narrow ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
  const virtual = useWindowVirtualizer({ count: items.length, estimateSize: () => height, overscan: 6, scrollMargin: offset });
  useLayoutEffect(() => virtual.measure(), [height]);
  return (
    <ul ref={host} className="services" aria-busy={stale} style={{ height: `${virtual.getTotalSize()}px` }}>
      {virtual.getVirtualItems().map((row) => {
        const item = items[row.index]!;
        const style = { transform: `translateY(${row.start - offset}px)`, height: `${height}px` };
        if (item.kind === "heading") {
          return (
            <li key={`heading ${item.value}`} className="service-heading" style={style}>
              <h2>{visible(item.value) || text.explore.noValue}</h2>
              <span className="soft">{text.services.found(item.services)}</span>
            </li>
          );
        }
        const { service } = item;
        return (
          <li key={`${row.index} ${service.name}`} className="service" style={style} aria-setsize={items.length} aria-posinset={row.index + 1}>
            <ServiceRow
              service={service}
              trend={trends.now === undefined ? undefined : (trends.now.get(service.name) ?? null)}
              lastWeek={trends.lastWeek === undefined ? undefined : (trends.lastWeek.get(service.name) ?? null)}
              hasFailed={trends.error !== undefined}
              range={range}
              isRough={isRough}
              from={state.from}
              until={state.until}
            />
          </li>
        );
      })}
    </ul>
  );
}
