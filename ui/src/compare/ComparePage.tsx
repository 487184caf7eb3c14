// Two profiles against each other: what got slower, by how much, and whether by more than chance.

import { type ReactNode, useEffect, useLayoutEffect, useMemo } from "react";
import { courseOf } from "../api/course";
import { flameGraph } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { isEmpty } from "../profile/flame";
import { diffFlames, NORMS, type Norm, scaleOf } from "../profile/diff";
import { parseProfileType, type ProfileType } from "../profile/profile-type";
import { nameServices, selectorOf } from "../profile/selector";
import { formatIso, type Range, wholeSecond } from "../profile/time";
import { measuredMs } from "../profile/timeline";
import { LabelFilters } from "../query-bar/LabelFilters";
import { ServiceSelect, TypeSelect, useServices } from "../query-bar/QueryBar";
import { PartialNotice } from "../shell/Cost";
import { Failure } from "../shell/Failure";
import { TimeRange } from "../shell/TimeRange";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, useSearch, visit } from "../url/navigation";
import { type CompareState, compareUrl, functionUrl, readCompare, type Sided } from "../url/state";
import { historyOf } from "./baseline";
import { BrushTimeline } from "./BrushTimeline";
import { DiffView } from "./DiffView";
import "./compare.css";

export function ComparePage() {
  const state = readCompare(useSearch());
  const before = useRange(state.before.from, state.before.until);
  const after = useRange(state.after.from, state.after.until);
  const whole: Range = { from: Math.min(before.range.from, after.range.from), until: Math.max(before.range.until, after.range.until) };
  const list = useServices(whole);
  const go = (change: Partial<CompareState>) => visit(compareUrl({ ...state, ...change }));
  const refresh = () => {
    before.refresh();
    after.refresh();
  };

  const names = list.data?.map((service) => service.name) ?? [];
  const types = list.data?.find((service) => service.name === state.after.service)?.types ?? [];
  // A page that was opened without a question shows the first service against the hour before.
  useLayoutEffect(() => {
    const first = list.data?.find((service) => service.name === state.after.service) ?? list.data?.[0];
    const isAsked = ({ service, filters, unread }: Sided) => service !== "" || nameServices(filters) || unread !== undefined;
    if (!first || (state.type !== "" && isAsked(state.after) && isAsked(state.before))) return;
    const named = (side: Sided) => (isAsked(side) ? side : { ...side, service: first.name });
    const [one, other] = [named(state.before), named(state.after)];
    const same = one.from === other.from && one.until === other.until && selectorOf(one.service, one.filters) === selectorOf(other.service, other.filters);
    const length = after.range.until - after.range.from;
    const earlier = { from: formatIso(wholeSecond(after.range.from - length)), until: formatIso(wholeSecond(after.range.from)) };
    amend(
      compareUrl({
        ...state,
        type: state.type || first.types[0]?.id || "",
        before: { ...one, ...(same ? earlier : {}) },
        after: other,
      }),
    );
  }, [list.data, state.type]);
  useEffect(() => {
    document.title = [text.compare.title, visible(state.after.service), text.product].filter(Boolean).join(" · ");
  }, [state.after.service]);

  const type = parseProfileType(state.type);
  const sides = ["before", "after"] as const;
  const problems = sides.map((name) => unreadOf({ ...state[name], type: name === "after" ? state.type : "" }));
  const side = (name: "before" | "after", sided: Sided, range: Range): ReactNode => (
    <SideBar name={name} sided={sided} range={range} names={names} onChange={(change) => go({ [name]: { ...sided, ...change }, zoom: "" })} onRefresh={refresh} />
  );
  return (
    <main className="page">
      <h1 className="for-screen-readers">{text.compare.title}</h1>
      <div className="query-bar">
        <TypeSelect types={types} value={state.type} onChange={(next) => go({ type: next, zoom: "" })} />
        <button type="button" className="button" onClick={() => go({ before: state.after, after: state.before })}>
          {text.compare.swap}
        </button>
        <span className="grow" />
        <label className="norm">
          {text.compare.norm}
          <select className="select" value={state.norm} onChange={(event) => go({ norm: event.target.value as Norm })}>
            {NORMS.map((norm) => (
              <option key={norm} value={norm}>
                {text.compare.norms[norm]}
              </option>
            ))}
          </select>
        </label>
      </div>
      <div className="compare-bars">
        {side("before", state.before, before.range)}
        {side("after", state.after, after.range)}
      </div>
      {list.error && <Failure error={list.error} />}
      {problems.some(({ length }) => length > 0) ? (
        sides.map((name, i) => (
          <Unreadable
            key={name}
            problems={problems[i]!}
            go={({ type: other = state.type, ...change }) => go({ type: other, [name]: { ...state[name], ...change } })}
          />
        ))
      ) : type ? (
        <>
          <BrushTimeline state={state} type={type} before={before.range} after={after.range} go={go} />
          <Difference key={`${type.id} ${state.before.service} ${state.after.service}`} state={state} type={type} before={before.range} after={after.range} go={go} />
        </>
      ) : (
        list.data?.length === 0 && (
          <p className="notice">
            {text.explore.noData} {text.explore.noDataHint}
          </p>
        )
      )}
    </main>
  );
}

interface SideBarProps {
  name: "before" | "after";
  sided: Sided;
  range: Range;
  names: string[];
  onChange: (change: Partial<Sided>) => void;
  onRefresh: () => void;
}

function SideBar({ name, sided, range, names, onChange, onRefresh }: SideBarProps) {
  return (
    <section className={`side-bar ${name}`} aria-label={text.compare[name]}>
      <h2>{text.compare[name]}</h2>
      <ServiceSelect label={`${text.explore.service}, ${text.compare[name]}`} names={names} value={sided.service} onChange={(service) => onChange({ service, filters: [], unread: undefined })} />
      <LabelFilters service={sided.service} filters={sided.filters} range={range} onChange={(filters) => onChange({ filters, unread: undefined })} />
      <span className="grow" />
      <TimeRange from={sided.from} until={sided.until} onChange={(from, until) => onChange({ from, until })} onRefresh={onRefresh} />
    </section>
  );
}

interface DifferenceProps {
  state: CompareState;
  type: ProfileType;
  before: Range;
  after: Range;
  go: (change: Partial<CompareState>) => void;
}

function Difference({ state, type, before, after, go }: DifferenceProps) {
  const useSide = (sided: Sided, range: Range) => {
    const selector = selectorOf(sided.service, sided.filters);
    const where = sided.service === "" && !nameServices(sided.filters) ? null : `${type.id} ${selector} ${range.from} ${range.until}`;
    const graph = useQuery(where && `flame ${where} `, (signal) => flameGraph(type.id, selector, range, signal));
    const time = useQuery(where && `measured ${where}`, async (signal) => {
      // Steps leave out what begins at their very start, which belongs to the range.
      const whole = { from: range.from - 1, until: range.until };
      const { points, step, cadence } = await courseOf(type, selector, whole, [], signal);
      return measuredMs(points, whole, step, cadence);
    });
    // Where it cannot be told, the range stands for what was measured of it.
    const ms = time.stale || time.loading ? undefined : time.data || range.until - range.from;
    return { ...graph, ms };
  };
  const left = useSide(state.before, before);
  const right = useSide(state.after, after);
  const a = left.data?.flame;
  const b = right.data?.flame;
  const scale = useMemo(
    () =>
      scaleOf(
        state.norm,
        { total: a?.total[0] ?? 0, ms: left.ms ?? 0 },
        { total: b?.total[0] ?? 0, ms: right.ms ?? 0 },
      ),
    [a, b, state.norm, left.ms, right.ms],
  );
  const known = state.norm !== "time" || (left.ms !== undefined && right.ms !== undefined);
  const flame = useMemo(() => (a && b && known ? diffFlames(a, b, scale) : null), [a, b, scale, known]);
  const error = left.error ?? right.error;

  return (
    <section className="panel" aria-label={text.compare.result}>
      {error && <Failure error={error} />}
      {[left, right].map(({ data }, i) => data && <PartialNotice key={i} cost={data.cost} />)}
      {!error && !flame && <div className="skeleton page-skeleton" />}
      {a && b && (isEmpty(a) || isEmpty(b)) && (
        <p className="notice">
          <strong>{text.compare.nothing(isEmpty(a) ? text.compare.before : text.compare.after)}</strong> {text.explore.noDataHint}
        </p>
      )}
      {a && b && flame && !isEmpty(a) && !isEmpty(b) && (
        <DiffView
          flame={flame}
          before={a}
          after={b}
          scale={scale}
          measured={left.ms !== undefined && right.ms !== undefined ? { before: left.ms, after: right.ms, type } : undefined}
          sampleUnit={type.sampleUnit}
          state={state}
          stale={left.stale || right.stale}
          go={go}
          amend={(change) => amend(compareUrl({ ...state, ...change }))}
          title={`${state.after.service} ${type.sampleType}`}
          links={{ history: (name) => visit(functionUrl({ type: type.id, name, ...historyOf(state, { before, after }) })) }}
        />
      )}
    </section>
  );
}
