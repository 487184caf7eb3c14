// One query, looked at from all sides: when (timeline), where (flame graph), what (table).

import { useEffect, useMemo, useRef, useState } from "react";
import { flameGraph, pprofUrl, selectSeries, services as askServices } from "../api/queries";
import { useQuery } from "../api/use-query";
import { FlameGraph } from "../flamegraph/FlameGraph";
import { visible } from "../flamegraph/label";
import { isEmpty, nodeCount } from "../profile/flame";
import { encodePath, resolvePath } from "../profile/path";
import { kindOf, parseProfileType, type ProfileType } from "../profile/profile-type";
import { search } from "../profile/search";
import { selectorOf } from "../profile/selector";
import { formatIso, formatSpan, type Range } from "../profile/time";
import { fineStep, timelineOf } from "../profile/timeline";
import { Failure } from "../shell/Failure";
import { TimeRange } from "../shell/TimeRange";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { type ExploreState, exploreUrl, readExplore, VIEWS } from "../url/state";
import { Breadcrumb } from "./Breadcrumb";
import "./explore.css";
import { LabelFilters } from "./LabelFilters";
import { SearchField } from "./SearchField";
import { Timeline } from "./Timeline";
import { TopTable } from "./TopTable";

const SEARCH_SETTLES_MS = 150;

export function ExplorePage() {
  const state = readExplore(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useQuery(`services ${range.from} ${range.until}`, (signal) => askServices(range, signal));

  // Without a service, or without its type, the first is shown; the URL says which.
  const service = list.data?.find((each) => each.name === state.service);
  const fallback = state.service === "" ? list.data?.[0] : service;
  useEffect(() => {
    if (!fallback) return;
    const type = state.type || fallback.types[0]?.id || "";
    if (state.service === "" || state.type === "") amend(exploreUrl({ ...state, service: fallback.name, type }));
  }, [fallback, state.service, state.type]);

  const go = (change: Partial<ExploreState>) => visit(exploreUrl({ ...state, ...change }));
  const type = parseProfileType(state.type);
  useEffect(() => {
    document.title = [state.service || text.explore.title, type?.sampleType, text.product].filter(Boolean).join(" · ");
  }, [state.service, type?.sampleType]);

  const names = list.data?.map((each) => each.name) ?? [];
  const types = service?.types ?? [];
  return (
    <main className="page">
      <h1 className="for-screen-readers">{text.explore.title}</h1>
      <div className="explore-bar">
        <select
          className="select"
          aria-label={text.explore.service}
          value={state.service}
          onChange={(event) => {
            const next = list.data?.find((each) => each.name === event.target.value);
            const same = next?.types.find((each) => each.id === state.type) ?? next?.types[0];
            go({ service: event.target.value, type: same?.id ?? "", zoom: "", filters: [] });
          }}
        >
          {!names.includes(state.service) && <option value={state.service}>{visible(state.service) || text.explore.chooseService}</option>}
          {names.map((name) => (
            <option key={name} value={name}>
              {visible(name)}
            </option>
          ))}
        </select>
        <select className="select" aria-label={text.explore.type} value={state.type} onChange={(event) => go({ type: event.target.value, zoom: "" })}>
          {!types.some((each) => each.id === state.type) && <option value={state.type}>{type ? typeName(type) : text.explore.type}</option>}
          {types.map((each) => (
            <option key={each.id} value={each.id}>
              {typeName(each)}
            </option>
          ))}
        </select>
        <LabelFilters service={state.service} filters={state.filters} range={range} onChange={(filters) => go({ filters, zoom: "" })} />
        <span className="grow" />
        <TimeRange from={state.from} until={state.until} onChange={(from, until) => go({ from, until })} onRefresh={refresh} />
      </div>
      {list.error && <Failure error={list.error} onRetry={refresh} />}
      {type ? (
        <Views state={state} type={type} range={range} go={go} onRetry={refresh} />
      ) : list.data?.length === 0 ? (
        <p className="notice">
          {text.explore.noData} {text.explore.noDataHint}
        </p>
      ) : (
        !list.error && <div className="skeleton explore-skeleton" />
      )}
    </main>
  );
}

function typeName(type: ProfileType): string {
  return `${text.kinds[kindOf(type)]} (${text.typeDetail(visible(type.sampleType), visible(type.sampleUnit))})`;
}

interface ViewsProps {
  state: ExploreState;
  type: ProfileType;
  range: Range;
  go: (change: Partial<ExploreState>) => void;
  onRetry: () => void;
}

function Views({ state, type, range, go, onRetry }: ViewsProps) {
  const selector = selectorOf(state.service, state.filters);
  const where = `${type.id} ${selector} ${range.from} ${range.until}`;
  const series = useQuery(`series ${where}`, (signal) => selectSeries(type, selector, range, [], signal));
  const graph = useQuery(`flame ${where}`, (signal) => flameGraph(type.id, selector, range, signal));
  const points = series.data?.[0]?.points ?? [];
  // An answer that is still on its way belongs to another range, so the line waits for it.
  const line = useMemo(
    () => (series.stale || points.length === 0 ? null : timelineOf(type, points, range, fineStep(range))),
    [series.data, series.stale, type.id],
  );

  const flame = graph.data?.flame;
  const [pattern, setPattern] = useState(state.search);
  const amended = useRef(state);
  amended.current = state;
  useEffect(() => setPattern(state.search), [state.search]);
  useEffect(() => {
    if (pattern === state.search) return;
    const timer = setTimeout(() => amend(exploreUrl({ ...amended.current, search: pattern })), SEARCH_SETTLES_MS);
    return () => clearTimeout(timer);
  }, [pattern]);
  const found = useMemo(() => (flame ? search(flame, state.search) : null), [flame, state.search]);
  const zoomed = useMemo(() => (flame ? resolvePath(flame, state.zoom) : 0), [flame, state.zoom]);
  const [selected, setSelected] = useState(-1);
  useEffect(() => setSelected(-1), [flame]);
  const searchField = useRef<HTMLInputElement>(null);

  const brush = (chosen: Range) => go({ from: String(chosen.from), until: String(chosen.until) });
  const zoomOut = () => {
    const more = (range.until - range.from) / 2;
    const until = Math.min(Date.now(), range.until + more);
    go({ from: formatIso(Math.floor(until - 4 * more)), until: formatIso(until) });
  };

  return (
    <>
      <section className="panel" aria-label={text.explore.timeline}>
        <div className="panel-bar">
          <h2>{text.explore.timelineOf(text.kinds[kindOf(type)])}</h2>
          {line && <span className="soft">{text.explore.perStep(formatSpan(line.stepSeconds * 1000))}</span>}
          <span className="grow" />
          <button type="button" className="button quiet" onClick={zoomOut}>
            {text.explore.zoomOut}
          </button>
        </div>
        {series.error ? (
          <Failure error={series.error} onRetry={onRetry} />
        ) : line ? (
          <div title={text.explore.brushHint}>
            <Timeline line={line} type={type} range={range} label={text.explore.timelineOf(text.kinds[kindOf(type)])} onBrush={brush} />
          </div>
        ) : series.loading ? (
          <div className="timeline skeleton" />
        ) : (
          <p className="soft">{text.explore.noTimeline}</p>
        )}
      </section>
      <section className="panel" aria-label={text.flame.label}>
        <div className="panel-bar">
          <SearchField field={searchField} value={pattern} onChange={setPattern} found={found} flame={flame} />
          <span className="grow" />
          <div className="group" role="group" aria-label={text.explore.view}>
            {VIEWS.map((view) => (
              <button key={view} type="button" className="button" aria-pressed={state.view === view} onClick={() => go({ view })}>
                {text.explore.views[view]}
              </button>
            ))}
          </div>
          <a className="button" href={pprofUrl(type.id, selector, range)} download="profile.pb.gz">
            {text.explore.download}
          </a>
        </div>
        {graph.error && <Failure error={graph.error} onRetry={onRetry} />}
        {!flame && !graph.error && <div className="skeleton explore-skeleton" />}
        {flame && isEmpty(flame) && (
          <div className="notice">
            <strong>{text.explore.noData}</strong> {text.explore.noDataHint}
          </div>
        )}
        {flame && !isEmpty(flame) && (
          <>
            <Breadcrumb flame={flame} zoomed={zoomed} sampleUnit={type.sampleUnit} onZoom={(node) => go({ zoom: encodePath(flame, node) })} />
            <div className={`views ${state.view}`} aria-busy={graph.stale} data-nodes={nodeCount(flame)}>
              {state.view !== "flame" && (
                <TopTable flame={flame} sampleUnit={type.sampleUnit} search={found} selected={selected} onSelect={setSelected} />
              )}
              {state.view !== "table" && (
                <FlameGraph
                  flame={flame}
                  sampleUnit={type.sampleUnit}
                  search={found}
                  zoomed={zoomed}
                  selected={selected}
                  onZoom={(node) => go({ zoom: encodePath(flame, node) })}
                  onSearch={() => searchField.current?.focus()}
                />
              )}
            </div>
          </>
        )}
      </section>
    </>
  );
}
