// One function's history: self and total over any range, as a whole or by a label such as the version.

import { useEffect, useMemo, useState } from "react";
import { courseOf } from "../api/course";
import { flameGraph, labelSets } from "../api/queries";
import { useQuery } from "../api/use-query";
import { type Line, Timeline } from "../explore/Timeline";
import "../explore/explore.css";
import { visible } from "../flamegraph/label";
import { meansOf, partsOf, weightOf } from "../profile/history";
import { parseProfileType, type ProfileType, rateOf } from "../profile/profile-type";
import { selectorOf, SERVICE_LABEL } from "../profile/selector";
import { splitSymbol } from "../profile/symbol";
import { topTable } from "../profile/table";
import { formatIso, type Range } from "../profile/time";
import { timelineOf } from "../profile/timeline";
import { formatRate } from "../profile/units";
import { Combobox } from "../query-bar/Combobox";
import { NotInRange } from "../query-bar/NotInRange";
import { QueryBar, useFirstService, useServices } from "../query-bar/QueryBar";
import { Failure } from "../shell/Failure";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, followLink, useSearch, visit } from "../url/navigation";
import { exploreUrl, type FunctionState, functionUrl, readFunction } from "../url/state";
import { hashName } from "../profile/path";

const PARTS = 24;
/** With lines for several values fewer parts each, so that the server is asked about as much. */
const PARTS_BY_LABEL = 12;
const MOST_VALUES = 4;
const MOST_NAMES = 500;

export function FunctionPage() {
  const state = readFunction(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useServices(range);
  useFirstService(state, list, (change) => amend(functionUrl({ ...state, ...change })));
  const go = (change: Partial<FunctionState>) => visit(functionUrl({ ...state, ...change }));
  const unread = unreadOf(state);
  const type = unread.length > 0 ? null : parseProfileType(state.type);
  const { short, origin } = splitSymbol(state.name);
  useEffect(() => {
    document.title = [visible(short) || text.history.title, text.product].join(" · ");
  }, [short]);
  return (
    <main className="page">
      <QueryBar state={state} range={range} list={list} go={go} onRefresh={refresh}>
        <a className="button" href={exploreUrl({ ...state, by: "", fn: state.name === "" ? "" : hashName(state.name) })} onClick={followLink}>
          {text.nav.explore}
        </a>
      </QueryBar>
      <div className="function-head">
        <h1 className={state.name === "" ? "" : "mono"}>{state.name === "" ? text.history.title : visible(origin === "" ? state.name : short)}</h1>
        {origin !== "" && <p className="soft mono">{visible(origin)}</p>}
      </div>
      <Unreadable problems={unread} go={go} />
      {!type && unread.length === 0 && list.data && !list.stale && !list.data.some(({ name }) => name === state.service) && <NotInRange service={state.service} go={go} />}
      {type && state.name === "" && <Chooser key={`${state.service} ${state.type}`} state={state} range={range} onChoose={(name) => go({ name })} />}
      {type && state.name !== "" && <History key={`${state.service} ${state.type} ${state.name}`} state={state} type={type} range={range} go={go} />}
    </main>
  );
}

function Chooser({ state, range, onChoose }: { state: FunctionState; range: Range; onChoose: (name: string) => void }) {
  const [typed, setTyped] = useState("");
  const selector = selectorOf(state.service, state.filters);
  const graph = useQuery(`flame ${state.type} ${selector} ${range.from} ${range.until} `, (signal) => flameGraph(state.type, selector, range, signal));
  const names = useMemo(() => {
    const flame = graph.data?.flame;
    if (!flame) return [];
    return topTable(flame)
      .sort((a, b) => b.self - a.self)
      .slice(0, MOST_NAMES)
      .map((row) => flame.names[row.name]!);
  }, [graph.data]);
  return (
    <section className="panel">
      <p>{text.history.choose}</p>
      <Combobox label={text.table.name} value={typed} options={names} loading={graph.loading} nothing={text.flame.nothingFound} onChange={setTyped} onChoose={onChoose} />
    </section>
  );
}

interface HistoryProps {
  state: FunctionState;
  type: ProfileType;
  range: Range;
  go: (change: Partial<FunctionState>) => void;
}

interface Measured {
  name: string;
  self: (number | null)[];
  total: (number | null)[];
}

function History({ state, type, range, go }: HistoryProps) {
  const selector = selectorOf(state.service, state.filters);
  const sets = useQuery(`label-sets ${selector} ${range.from} ${range.until}`, (signal) => labelSets(selector, range, signal));
  const labels = [...(sets.data ?? [])].filter(([name, values]) => name !== SERVICE_LABEL && values.size > 1).map(([name]) => name);
  const values = state.by === "" ? null : [...(sets.data?.get(state.by)?.keys() ?? [])].slice(0, MOST_VALUES);
  const parts = partsOf(range, state.by === "" ? PARTS : PARTS_BY_LABEL);
  const partSeconds = (range.until - range.from) / parts.length / 1000;
  const ready = state.by === "" || values !== null && values.length > 0;

  const measured = useQuery(ready ? `history ${state.name} ${state.by} ${type.id} ${selector} ${range.from} ${range.until}` : null, async (signal) => {
    const lines: Measured[] = [];
    for (const value of values ?? [null]) {
      const filters = value === null ? state.filters : [...state.filters, { name: state.by, operator: "=" as const, value }];
      lines.push(await measure(type, selectorOf(state.service, filters), state.name, value, range, parts, signal));
    }
    return lines;
  });
  const times = parts.map((part) => (part.from + part.until) / 2000);
  const chart = (key: "self" | "total"): Line[] =>
    (measured.data ?? []).map((line) => ({ name: line.name, line: { stepSeconds: partSeconds, times, values: line[key] } }));
  const rate = rateOf(type);
  const last = (line: Measured, key: "self" | "total") => line[key].findLast((value) => value !== null) ?? null;
  return (
    <>
      {(["total", "self"] as const).map((key) => (
        <section key={key} className="panel" aria-label={text.history[key]} aria-busy={measured.stale}>
          <div className="panel-bar">
            <h2>{text.history[key]}</h2>
            {measured.data?.map((line) => {
              const value = last(line, key);
              return (
                <span key={line.name} className="soft">
                  {line.name} {value === null ? "" : formatRate(value, rate)}
                </span>
              );
            })}
            <span className="grow" />
            {key === "total" && labels.length > 0 && (
              <select className="select" aria-label={text.history.by} value={state.by} onChange={(event) => go({ by: event.target.value })}>
                <option value="">{text.history.whole}</option>
                {labels.map((name) => (
                  <option key={name} value={name}>
                    {text.explore.byLabel(visible(name))}
                  </option>
                ))}
              </select>
            )}
          </div>
          {measured.data ? (
            <Timeline
              lines={chart(key)}
              together="beside"
              type={type}
              range={range}
              label={text.history[key]}
              onBrush={(chosen) => go({ from: formatIso(chosen.from), until: formatIso(chosen.until) })}
            />
          ) : (
            !measured.error && <div className="timeline skeleton" />
          )}
        </section>
      ))}
      {measured.error && <Failure error={measured.error} />}
    </>
  );
}

/** The function's share of each part, times what the whole used in it. */
async function measure(
  type: ProfileType,
  selector: string,
  name: string,
  value: string | null,
  range: Range,
  parts: Range[],
  signal: AbortSignal,
): Promise<Measured> {
  const { points, step, cadence } = await courseOf(type, selector, range, [], signal);
  const whole = meansOf(timelineOf(type, points, range, step, cadence), parts);
  const weights = await Promise.all(
    parts.map(async (part, i) => (whole[i] === null ? null : weightOf((await flameGraph(type.id, selector, part, signal)).flame, name))),
  );
  const line = (key: "self" | "total") => weights.map((weight, i) => (weight === null || whole[i] === null ? null : weight[key] * whole[i]!));
  return { name: value === null ? "" : visible(value) || text.explore.noValue, self: line("self"), total: line("total") };
}
