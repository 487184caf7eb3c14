// Which label explains it: each label of a query with its values, the most uneven first.

import { useEffect, useMemo, useState } from "react";
import { cadenceFor } from "../api/course";
import { labelSets, selectSeries } from "../api/queries";
import { useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { type Cadence, stepThatFits } from "../profile/cadence";
import { parseProfileType, type ProfileType, rateOf } from "../profile/profile-type";
import { type LabelFilter, selectorOf, SERVICE_LABEL } from "../profile/selector";
import { type Split, type SplitPart, splitOf } from "../profile/split";
import { formatIso, type Range, wholeSecond } from "../profile/time";
import { coarseStep, fineStep, meanOf, timelineOf } from "../profile/timeline";
import { formatRate, formatShare } from "../profile/units";
import { NotInRange } from "../query-bar/NotInRange";
import { QueryBar, useFirstService, useServices } from "../query-bar/QueryBar";
import { Sparkline } from "../services/Sparkline";
import { Failure } from "../shell/Failure";
import { Unreadable, unreadOf } from "../shell/Unreadable";
import { useRange } from "../shell/use-range";
import { text } from "../text";
import { amend, followLink, useSearch, visit } from "../url/navigation";
import { compareUrl, exploreUrl, type LabelsState, labelsUrl, readLabels } from "../url/state";
import "./labels.css";

const MOST_LABELS = 24;
const FIRST_VALUES = 8;
/** So many lines of fine steps would be megabytes. */
const MANY = 60;
const SORTS = ["uneven", "moved"] as const;

export function LabelsPage() {
  const state = readLabels(useSearch());
  const { range, refresh } = useRange(state.from, state.until);
  const list = useServices(range);
  useFirstService(state, list, (change) => amend(labelsUrl({ ...state, ...change })));
  const go = (change: Partial<LabelsState>) => visit(labelsUrl({ ...state, ...change }));
  const unread = unreadOf(state);
  const type = unread.length > 0 ? null : parseProfileType(state.type);
  useEffect(() => {
    document.title = [text.labels.title, visible(state.service), text.product].filter(Boolean).join(" · ");
  }, [state.service]);
  return (
    <main className="page">
      <QueryBar state={state} range={range} list={list} go={go} onRefresh={refresh}>
        <a className="button" href={exploreUrl(state)} onClick={followLink}>
          {text.nav.explore}
        </a>
      </QueryBar>
      <h1>{text.labels.heading}</h1>
      {list.error && <Failure error={list.error} />}
      <Unreadable problems={unread} go={go} />
      {!type && unread.length === 0 && list.data && !list.stale && !list.data.some(({ name }) => name === state.service) && <NotInRange service={state.service} go={go} />}
      {type && <Splits key={`${state.service} ${state.type}`} state={state} type={type} range={range} />}
    </main>
  );
}

interface Props {
  state: LabelsState;
  type: ProfileType;
  range: Range;
}

function Splits({ state, type, range }: Props) {
  const selector = selectorOf(state.service, state.filters);
  const where = `${type.id} ${selector} ${range.from} ${range.until}`;
  const sort = SORTS.find((each) => each === state.by) ?? "uneven";
  const splits = useQuery(`splits ${where}`, async (signal) => {
    const [sets, cadence] = await Promise.all([labelSets(selector, range, signal), cadenceFor(type, selector, range, signal)]);
    const most = Math.max(0, ...[...sets.values()].map((values) => values.size));
    const step = stepThatFits(most > MANY ? coarseStep(range) : fineStep(range), cadence);
    const names = [...sets].filter(([name, values]) => name !== SERVICE_LABEL && values.size > 1).map(([name]) => name);
    const ask = async (label: string) => {
      const series = await selectSeries(type, selector, range, [label], signal, step);
      const groups = series.map(({ labels, points }) => ({ value: labels.get(label) ?? "", points }));
      return splitOf(label, groups, range.from, range.until);
    };
    return { splits: await Promise.all(names.slice(0, MOST_LABELS).map(ask)), left: Math.max(0, names.length - MOST_LABELS), step, cadence };
  });
  const sorted = useMemo(() => [...(splits.data?.splits ?? [])].sort((a, b) => b[sort] - a[sort]), [splits.data, sort]);
  if (splits.error) return <Failure error={splits.error} />;
  if (!splits.data) return <div className="skeleton page-skeleton" />;
  if (sorted.length === 0) {
    return (
      <p className="notice">
        <strong>{text.labels.none}</strong> {text.labels.noneHint}
      </p>
    );
  }
  return (
    <>
      <div className="labels-bar">
        <p className="soft grow">{text.labels.hint}</p>
        <select className="select" aria-label={text.labels.sort} value={sort} onChange={(event) => visit(labelsUrl({ ...state, by: event.target.value }))}>
          {SORTS.map((each) => (
            <option key={each} value={each}>
              {text.labels.sorts[each]}
            </option>
          ))}
        </select>
      </div>
      {sorted.map((split) => (
        <LabelPanel key={split.label} stale={splits.stale} split={split} step={splits.data!.step} cadence={splits.data!.cadence} state={state} type={type} range={range} />
      ))}
      {splits.data.left > 0 && <p className="soft">{text.labels.left(splits.data.left)}</p>}
    </>
  );
}

/** How the points of a split lie in time. */
interface Lie {
  step: number;
  cadence: Cadence | null;
}

function LabelPanel({ split, stale, state, type, range, step, cadence }: Props & Lie & { split: Split; stale: boolean }) {
  const [all, setAll] = useState(false);
  const shown = all ? split.parts : split.parts.slice(0, FIRST_VALUES);
  return (
    <section className="panel" aria-label={visible(split.label)} aria-busy={stale}>
      <div className="panel-bar">
        <h2 className="mono">{visible(split.label)}</h2>
        <span className="soft">{text.labels.values(split.parts.length)}</span>
        <span className="soft">{text.labels.uneven(formatShare(split.uneven))}</span>
      </div>
      <div className="label-value label-head soft" aria-hidden="true">
        {(["value", "share", "course", "mean", "halves"] as const).map((head) => (
          <span key={head} title={head === "halves" ? text.labels.halves : undefined}>
            {text.labels.heads[head]}
          </span>
        ))}
      </div>
      <ul className="label-values">
        {shown.map((part) => (
          <Value key={part.value} part={part} step={step} cadence={cadence} label={split.label} state={state} type={type} range={range} />
        ))}
      </ul>
      {split.parts.length > shown.length && (
        <button type="button" className="button quiet" onClick={() => setAll(true)}>
          {text.labels.more(split.parts.length - shown.length)}
        </button>
      )}
    </section>
  );
}

function Value({ part, label, state, type, range, step, cadence }: Props & Lie & { part: SplitPart; label: string }) {
  const line = useMemo(() => timelineOf(type, part.points, range, step, cadence), [part]);
  const mean = meanOf(line);
  const is: LabelFilter = { name: label, operator: "=", value: part.value };
  const others: LabelFilter = { name: label, operator: "!=", value: part.value };
  const fixed = { service: state.service, from: formatIso(wholeSecond(range.from)), until: formatIso(wholeSecond(range.until)) };
  const compare = compareUrl({
    type: state.type,
    before: { ...fixed, filters: [...state.filters, others] },
    after: { ...fixed, filters: [...state.filters, is] },
  });
  const half = part.sum === 0 ? 0 : part.change / Math.abs(part.sum);
  const name = visible(part.value) || text.explore.noValue;
  return (
    <li className="label-value">
      <a className="mono label-name" href={exploreUrl({ ...state, filters: [...state.filters, is] })} onClick={followLink} title={text.labels.filter(name)}>
        {name}
      </a>
      <span className="label-share">
        <span className="label-bar" style={{ width: `${part.share * 100}%` }} />
        <span>{formatShare(part.share)}</span>
      </span>
      <Sparkline timeline={line} label={text.services.trend(name)} />
      <span className="label-figure">{mean === null ? "–" : formatRate(mean, rateOf(type))}</span>
      <span className={`label-change ${half > 0.05 ? "more" : half < -0.05 ? "less" : "soft"}`} title={text.labels.halves}>
        {half > 0 ? "+" : ""}
        {formatShare(half)}
      </span>
      <a className="label-compare" href={compare} onClick={followLink}>
        {text.labels.compare}
      </a>
    </li>
  );
}
