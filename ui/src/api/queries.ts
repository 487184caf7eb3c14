// The questions that the pages ask, with the answers as the pages use them.

import type { Flame } from "../profile/flame";
import { byImportance, isLevel, parseProfileType, type ProfileType } from "../profile/profile-type";
import { SERVICE_LABEL, TYPE_LABEL } from "../profile/selector";
import type { Range } from "../profile/time";
import { fineStep, type Point } from "../profile/timeline";
import { Writer } from "../profile/protobuf";
import { call, callBinary, type ScanCost } from "./client";
import { readFlameAnswer } from "./flame-answer";

/** The most that the server gives: what people profile is shown whole. */
const MAX_NODES = 1_048_576;
const FORMAT_FLAMEGRAPH = 1;

interface WireLabels {
  labels?: { name?: string; value?: string }[];
}

interface WireSeries extends WireLabels {
  points?: { value?: number | string; timestamp?: string | number }[];
}

export interface Service {
  name: string;
  /** The most telling type first. */
  types: ProfileType[];
}

const times = (range: Range) => ({ start: String(range.from), end: String(range.until) });

export async function services(range: Range, signal: AbortSignal): Promise<Service[]> {
  const answer = await call<{ labelsSet?: WireLabels[] }>(
    "Series",
    { matchers: [], labelNames: [SERVICE_LABEL, TYPE_LABEL], ...times(range) },
    signal,
  );
  const byName = new Map<string, Map<string, ProfileType>>();
  for (const set of answer.labelsSet ?? []) {
    const value = (name: string) => set.labels?.find((label) => label.name === name)?.value ?? "";
    const name = value(SERVICE_LABEL);
    const type = parseProfileType(value(TYPE_LABEL));
    if (name === "" || type === null) continue;
    if (!byName.has(name)) byName.set(name, new Map());
    byName.get(name)!.set(type.id, type);
  }
  return [...byName]
    .map(([name, types]) => ({ name, types: [...types.values()].sort(byImportance) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

export async function labelNames(selector: string, range: Range, signal: AbortSignal): Promise<string[]> {
  const answer = await call<{ names?: string[] }>("LabelNames", { matchers: [selector], ...times(range) }, signal);
  return (answer.names ?? []).filter((name) => !name.startsWith("__") && name !== SERVICE_LABEL);
}

export async function labelValues(name: string, selector: string, range: Range, signal: AbortSignal): Promise<string[]> {
  const answer = await call<{ names?: string[] }>("LabelValues", { name, matchers: [selector], ...times(range) }, signal);
  return answer.names ?? [];
}

export interface Series {
  labels: Map<string, string>;
  points: Point[];
}

export async function selectSeries(
  type: ProfileType,
  selector: string,
  range: Range,
  groupBy: string[],
  signal: AbortSignal,
): Promise<Series[]> {
  const answer = await call<{ series?: WireSeries[] }>(
    "SelectSeries",
    {
      profileTypeID: type.id,
      labelSelector: selector,
      step: fineStep(range),
      groupBy,
      ...(isLevel(type) ? { aggregation: "TIME_SERIES_AGGREGATION_TYPE_AVERAGE" } : {}),
      ...times(range),
    },
    signal,
  );
  return (answer.series ?? []).map((series) => ({
    labels: new Map((series.labels ?? []).map((label) => [label.name ?? "", label.value ?? ""])),
    points: (series.points ?? []).map((p) => ({ time: Number(p.timestamp ?? 0), value: Number(p.value ?? 0) })),
  }));
}

export interface FlameAnswer {
  flame: Flame;
  cost: ScanCost;
}

export async function flameGraph(type: string, selector: string, range: Range, signal: AbortSignal): Promise<FlameAnswer> {
  const body = new Writer()
    .text(1, type)
    .text(2, selector)
    .int(3, range.from)
    .int(4, range.until)
    .int(5, MAX_NODES)
    .int(6, FORMAT_FLAMEGRAPH)
    .bytes();
  const { bytes, cost } = await callBinary("SelectMergeStacktraces", body, signal);
  return { flame: readFlameAnswer(bytes, MAX_NODES), cost };
}

export function pprofUrl(type: string, selector: string, range: Range): string {
  const params = new URLSearchParams({
    query: type + selector,
    from: String(range.from),
    until: String(range.until),
  });
  return `/api/v1/pprof?${params}`;
}
