// One query, looked at from all sides: when (timeline), where (flame graph), what (table).

import { useEffect, useMemo, useState } from "react";
import { type Cost, PartialNotice } from "../shell/Cost";
import { newestProfiles } from "../api/course";
import { flameGraph, pprofUrl, selectSeries } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { isEmpty, ROOT } from "../profile/flame";
import { isLevel, parseProfileType, type ProfileType } from "../profile/profile-type";
import { selectorOf } from "../profile/selector";
import type { Range } from "../profile/time";
import { CompareMenu } from "../compare/CompareMenu";
import { NotInRange } from "../query-bar/NotInRange";
import { QueryBar, useFirstService, useServices } from "../query-bar/QueryBar";
import { isAddress } from "../profile/symbol";
import { formatValue } from "../profile/units";
import { Failure } from "../shell/Failure";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { type ExploreState, exploreUrl, functionUrl, heatmapUrl, labelsUrl, readExplore, type ViewState } from "../url/state";
import { ProfileView } from "../views/ProfileView";
import { useCode } from "../source/use-code";
import { usePlaces } from "./use-places";
import { TimelinePanel } from "./TimelinePanel";
import { followLink } from "../url/navigation";

export function ExplorePage() {
  const state = readExplore(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useServices(range);
  useFirstService(state, list, (change) => amend(exploreUrl({ ...state, ...change })));
  // Another question is another graph: the zoom of the old one means nothing there.
  const go = (change: Partial<ExploreState>) => {
    const leaves = "service" in change || "type" in change;
    visit(exploreUrl({ ...state, ...(leaves ? { zoom: "", fn: "", focus: "", hide: [], merge: [] } : {}), ...change }));
  };
  const type = parseProfileType(state.type);
  const unread = unreadOf(state);
  useEffect(() => {
    document.title = [visible(state.service) || text.explore.title, type?.sampleType, text.product].filter(Boolean).join(" · ");
  }, [state.service, type?.sampleType]);

  return (
    <main className="page">
      <h1 className="for-screen-readers">{text.explore.title}</h1>
      <QueryBar state={state} range={range} list={list} go={go} onRefresh={refresh}>
        <a className="button" href={labelsUrl(state)} onClick={followLink}>
          {text.labels.open}
        </a>
        <a className="button" href={heatmapUrl({ service: state.service, type: state.type, filters: state.filters, unread: state.unread, from: state.from, until: state.until })} onClick={followLink}>
          {text.heatmap.open}
        </a>
        <CompareMenu state={state} range={range} />
      </QueryBar>
      {list.error && <Failure error={list.error} />}
      {unread.length > 0 ? (
        <Unreadable problems={unread} go={go} />
      ) : type ? (
        <Profile key={`${state.service} ${state.type}`} state={state} type={type} range={range} go={go} />
      ) : list.data && !list.stale && !list.data.some(({ name }) => name === state.service) ? (
        <NotInRange service={state.service} go={go} />
      ) : (
        !list.error && <div className="skeleton page-skeleton" />
      )}
    </main>
  );
}

interface ProfileProps {
  state: ExploreState;
  type: ProfileType;
  range: Range;
  go: (change: Partial<ExploreState>) => void;
}

function Profile({ state, type, range, go }: ProfileProps) {
  const selector = selectorOf(state.service, state.filters);
  const [below, setBelow] = useState<string[]>([]);
  useEffect(() => setBelow([]), [selector, type.id, range.from, range.until]);
  const where = `${type.id} ${selector} ${range.from} ${range.until}`;
  const graph = useQuery(`flame ${where} ${below.join("\n")}`, (signal) => flameGraph(type.id, selector, range, signal, below));
  const hasCode = useCode(state.service) === true;
  const flame = graph.data?.flame;
  const byFile = state.group === "file" || state.group === "kind";
  const unnamed = useMemo(() => flame !== undefined && flame.names.some(isAddress), [flame]);
  const places = usePlaces(byFile || unnamed ? where : null, type.id, selector, range);
  const each = useQuery(isLevel(type) ? `mean ${where}` : null, async (signal) => {
    const series = await selectSeries(type, selector, range, [], signal, Math.max(1, (range.until - range.from) / 1000));
    return series[0]?.points.at(-1)?.value ?? 0;
  });
  const cost: Cost | undefined = graph.data?.cost;
  const title = useMemo(() => `${state.service} ${type.sampleType}`, [state.service, type.sampleType]);

  return (
    <>
      <TimelinePanel state={state} type={type} range={range} selector={selector} go={go} />
      <section className="panel" aria-label={text.flame.label}>
        {cost && <PartialNotice cost={cost} />}
        {isLevel(type) && flame && each.data !== undefined && !each.stale && <Snapshots total={flame.total[ROOT]!} each={each.data} unit={type.sampleUnit} />}
        {below.length > 0 && (
          <p className="notice">
            <span className="grow">{text.explore.below(visible(below.at(-1)!))}</span>
            <button type="button" className="button" onClick={() => setBelow([])}>
              {text.explore.showAll}
            </button>
          </p>
        )}
        {graph.error && <Failure error={graph.error} />}
        {!flame && !graph.error && <div className="skeleton page-skeleton" />}
        {flame && !graph.stale && isEmpty(flame) && <Nothing type={type} selector={selector} range={range} />}
        {flame && !isEmpty(flame) && (
          <ProfileView
            flame={flame}
            sampleUnit={type.sampleUnit}
            state={state}
            stale={graph.stale}
            go={go}
            amend={(change: Partial<ViewState>) => amend(exploreUrl({ ...state, ...change }))}
            links={{
              history: (name) => visit(functionUrl({ ...state, name })),
              openFolded: setBelow,
              hasCode,
            }}
            source={{ title, pprof: pprofUrl(type.id, selector, range) }}
            files={byFile ? places?.files : undefined}
            modules={places?.modules}
            code={hasCode ? { service: state.service, type: type.id, selector, range, filters: state.filters } : undefined}
          />
        )}
        {cost && <p className="soft scan-cost">{text.explore.cost(cost.ms, cost.rows, cost.bytes)}</p>}
      </section>
    </>
  );
}

/** No profile, or only such as measured nothing. */
function Nothing({ type, selector, range }: { type: ProfileType; selector: string; range: Range }) {
  const newest = useQuery(`any ${type.id} ${selector} ${range.from} ${range.until}`, (signal) => newestProfiles(type, selector, range, 1, signal));
  if (newest.loading) return null;
  const isZero = (newest.data?.length ?? 0) > 0;
  return (
    <div className="notice">
      <strong>{isZero ? text.explore.onlyZeros : text.explore.noData}</strong> {isZero ? text.explore.onlyZerosHint : text.explore.noDataHint}
    </div>
  );
}

/** Memory and goroutines are looked at again and again; what a graph adds up was never there at once. */
function Snapshots({ total, each, unit }: { total: number; each: number; unit: string }) {
  const count = each > 0 ? Math.round(total / each) : 0;
  if (count < 2) return null;
  return <p className="soft">{text.explore.snapshots(count, formatValue(each, unit))}</p>;
}
