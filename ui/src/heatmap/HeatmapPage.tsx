// Single profiles and spans by time and value: the few that are far larger than the rest, which a
// timeline averages away. What lies in a rectangle is listed, added up, and can be taken along.

import { useEffect, useState } from "react";
import { chosenFlameGraph, chosenPprofUrl, heatmap as askHeatmap, ORDERS, type Order, SINGLES, singles as askSingles } from "../api/singles";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { useElementSize } from "../flamegraph/use-element-size";
import { isEmpty } from "../profile/flame";
import { type Area, countIn, spanName } from "../profile/heatmap";
import { kindOf, parseProfileType, type ProfileType } from "../profile/profile-type";
import { selectorOf } from "../profile/selector";
import { formatSpan, type Range } from "../profile/time";
import { formatValue } from "../profile/units";
import { NotInRange } from "../query-bar/NotInRange";
import { QueryBar, useFirstService, useServices } from "../query-bar/QueryBar";
import { clock } from "../shell/clock";
import { PartialNotice } from "../shell/Cost";
import { Failure } from "../shell/Failure";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, followLink, useSearch, visit } from "../url/navigation";
import { exploreUrl, functionUrl, type HeatmapState, heatmapUrl, readHeatmap, type ViewState } from "../url/state";
import { ProfileView } from "../views/ProfileView";
import { HeatmapCanvas } from "./HeatmapCanvas";
import { SinglesTable } from "./SinglesTable";
import "./heatmap.css";

const LISTED = 100;
const BANDS = 24;
/** Columns come in such steps, so that a window that grows a little asks nothing new. */
const COLUMN_STEP = 20;
const COLUMN_PX = 9;

export function HeatmapPage() {
  const state = readHeatmap(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useServices(range);
  useFirstService(state, list, (change) => amend(heatmapUrl({ ...state, ...change })));
  const go = (change: Partial<HeatmapState>) => {
    const leaves = "service" in change || "type" in change || "of" in change || "filters" in change;
    visit(heatmapUrl({ ...state, ...(leaves ? { area: null, one: "", zoom: "", fn: "", focus: "", hide: [], merge: [] } : {}), ...change }));
  };
  const type = parseProfileType(state.type);
  const unread = unreadOf(state);
  useEffect(() => {
    document.title = [text.heatmap.title, visible(state.service), text.product].filter(Boolean).join(" · ");
  }, [state.service]);
  return (
    <main className="page">
      <h1 className="for-screen-readers">{text.heatmap.title}</h1>
      <QueryBar state={state} range={range} list={list} go={go} onRefresh={refresh}>
        <a className="button" href={exploreUrl(state)} onClick={followLink}>
          {text.nav.explore}
        </a>
      </QueryBar>
      {list.error && <Failure error={list.error} />}
      {unread.length > 0 ? (
        <Unreadable problems={unread} go={go} />
      ) : type ? (
        <Singles key={`${state.service} ${state.type}`} state={state} type={type} range={range} go={go} />
      ) : list.data && !list.stale && !list.data.some(({ name }) => name === state.service) ? (
        <NotInRange service={state.service} go={go} />
      ) : (
        !list.error && <div className="skeleton page-skeleton" />
      )}
    </main>
  );
}

interface Props {
  state: HeatmapState;
  type: ProfileType;
  range: Range;
  go: (change: Partial<HeatmapState>) => void;
}

function Singles({ state, type, range, go }: Props) {
  const { of, area, one } = state;
  const query = type.id + selectorOf(state.service, state.filters);
  const where = `${of} ${query} ${range.from} ${range.until}`;
  const [host, size] = useElementSize<HTMLDivElement>();
  const columns = Math.max(COLUMN_STEP, Math.floor(size.width / COLUMN_PX / COLUMN_STEP) * COLUMN_STEP);
  const map = useQuery(size.width === 0 ? null : `heatmap ${where} ${columns}`, (signal) => askHeatmap(query, range, of, columns, BANDS, signal));
  const [order, setOrder] = useState<Order>("largest");
  const areaKey = area ? `${area.from} ${area.until} ${area.min} ${area.max}` : "";
  const list = useQuery(`singles ${where} ${areaKey} ${order}`, (signal) => askSingles(query, range, of, area, order, LISTED, signal));
  const chosen = { of, id: one, area };
  const graph = useQuery(area || one ? `flame ${where} ${areaKey} ${one}` : null, (signal) => chosenFlameGraph(query, range, chosen, signal));
  const flame = area || one ? graph.data?.flame : undefined;
  const kind = text.kinds[kindOf(type)];
  const format = (value: number) => formatValue(value, type.sampleUnit);
  const nothing = map.data && !map.stale && map.data.values === null;
  const single = list.data?.singles.find((each) => each.id === one);
  return (
    <>
      <section className="panel" aria-label={text.heatmap.title}>
        <div className="panel-bar">
          <h2>{text.heatmap.heading[of](kind)}</h2>
          {map.data && <span className="soft">{text.heatmap.perColumn(formatSpan(map.data.step))}</span>}
          <span className="grow" />
          <div className="group" role="group" aria-label={text.heatmap.of}>
            {SINGLES.map((each) => (
              <button key={each} type="button" className="button" aria-pressed={of === each} onClick={() => go({ of: each })}>
                {text.heatmap.singles[each]}
              </button>
            ))}
          </div>
        </div>
        <div ref={host} className="heatmap-host" aria-busy={map.stale || map.loading}>
          {map.error && <Failure error={map.error} />}
          {!map.data && !map.error && <div className="skeleton heatmap-skeleton" />}
          {nothing && (
            <p className="notice">
              <strong>{text.heatmap.none[of]}</strong> {text.heatmap.noneHint[of]}
            </p>
          )}
          {map.data && !nothing && (
            <HeatmapCanvas
              map={map.data}
              area={area}
              sampleUnit={type.sampleUnit}
              width={size.width}
              label={text.heatmap.heading[of](kind)}
              onSelect={(next) => go({ area: next, one: "", zoom: "" })}
            />
          )}
        </div>
        {area && (
          <p className="heatmap-chosen">
            <span>{text.heatmap.chosen[of](map.data ? countIn(map.data, area) : 0, describe(area, format))}</span>
            <button type="button" className="button quiet" onClick={() => go({ area: null, one: "", zoom: "" })}>
              {text.heatmap.clear}
            </button>
          </p>
        )}
        {!area && !nothing && <p className="soft">{text.heatmap.hint}</p>}
      </section>
      {!nothing && (
        <section className="panel" aria-label={text.heatmap.list[of]}>
          <div className="panel-bar">
            <h2>{text.heatmap.list[of]}</h2>
            {list.data?.more && <span className="soft">{text.heatmap.first(LISTED)}</span>}
            <span className="grow" />
            {of === "profiles" && (
              <select className="select" aria-label={text.heatmap.order} value={order} onChange={(event) => setOrder(event.target.value as Order)}>
                {ORDERS.map((each) => (
                  <option key={each} value={each}>
                    {text.heatmap.orders[each]}
                  </option>
                ))}
              </select>
            )}
          </div>
          {list.error && <Failure error={list.error} />}
          {!list.data && !list.error && <div className="skeleton heatmap-skeleton" />}
          {list.data && (
            <SinglesTable
              singles={list.data.singles}
              of={of}
              one={one}
              format={format}
              pprof={(id) => chosenPprofUrl(query, range, { of, id, area: null })}
              onChoose={(id) => go({ one: id === one ? "" : id, zoom: "" })}
            />
          )}
        </section>
      )}
      {(area || one) && (
        <section className="panel" aria-label={text.flame.label}>
          <h2>{one ? text.heatmap.graphOfOne[of](single ? clock.moment(single.time) : one) : text.heatmap.graphOf[of]}</h2>
          {graph.data && <PartialNotice cost={graph.data.cost} />}
          {graph.error && <Failure error={graph.error} />}
          {!flame && !graph.error && <div className="skeleton page-skeleton" />}
          {flame && isEmpty(flame) && <p className="notice">{text.explore.noData}</p>}
          {flame && !isEmpty(flame) && (
            <ProfileView
              flame={flame}
              sampleUnit={type.sampleUnit}
              state={state}
              stale={graph.stale}
              go={go}
              amend={(change: Partial<ViewState>) => amend(heatmapUrl({ ...state, ...change }))}
              links={{ history: (name) => visit(functionUrl({ ...state, name })) }}
              source={{ title: `${state.service} ${type.sampleType}`, pprof: chosenPprofUrl(query, range, chosen) }}
            />
          )}
        </section>
      )}
    </>
  );
}

function describe(area: Area, format: (value: number) => string): string {
  return `${clock.moment(area.from)} – ${clock.moment(area.until)}, ${spanName(area, format)}`;
}
