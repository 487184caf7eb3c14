// The questions that the pages ask, with the answers as the pages use them.

import type { Flame } from "../profile/flame";
import { type Places, type Raw, readPlaces, readRaw } from "../profile/pprof";
import { byImportance, isLevel, parseProfileType, type ProfileType } from "../profile/profile-type";
import { SERVICE_LABEL, TYPE_LABEL } from "../profile/selector";
import type { Range } from "../profile/time";
import { fineStep, type Point } from "../profile/timeline";
import { Writer } from "../profile/protobuf";
import { call, callBinary, getBinary, type ScanCost } from "./client";
import { readFlameAnswer } from "./flame-answer";
import { readFlameColumns } from "./flame-columns";

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
  /** What its profiler says it is written in; empty when it does not say. */
  language: string;
  /** Values of the label that services are grouped by. */
  groups: string[];
}

/** Labels by which profilers and instrumentation name the language. */
const LANGUAGE_LABELS = ["telemetry_sdk_language", "process_runtime_name", "pyroscope_spy", "language"];

const times = (range: Range) => ({ start: String(range.from), end: String(range.until) });

export async function services(range: Range, signal: AbortSignal, groupBy = ""): Promise<Service[]> {
  const answer = await call<{ labelsSet?: WireLabels[] }>(
    "Series",
    { matchers: [], labelNames: [SERVICE_LABEL, TYPE_LABEL, ...LANGUAGE_LABELS, ...(groupBy === "" ? [] : [groupBy])], ...times(range) },
    signal,
  );
  interface Found {
    types: Map<string, ProfileType>;
    language: string;
    groups: Set<string>;
  }
  const byName = new Map<string, Found>();
  for (const set of answer.labelsSet ?? []) {
    const value = (name: string) => set.labels?.find((label) => label.name === name)?.value ?? "";
    const name = value(SERVICE_LABEL);
    const type = parseProfileType(value(TYPE_LABEL));
    if (name === "" || type === null) continue;
    if (!byName.has(name)) byName.set(name, { types: new Map(), language: "", groups: new Set() });
    const found = byName.get(name)!;
    found.types.set(type.id, type);
    found.language ||= LANGUAGE_LABELS.map(value).find((each) => each !== "" && each !== "unknown") ?? "";
    if (groupBy !== "") found.groups.add(value(groupBy));
  }
  return [...byName]
    .map(([name, { types, language, groups }]) => ({ name, types: [...types.values()].sort(byImportance), language, groups: [...groups].sort() }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

export async function allLabelNames(range: Range, signal: AbortSignal): Promise<string[]> {
  const answer = await call<{ names?: string[] }>("LabelNames", { matchers: [], ...times(range) }, signal);
  return (answer.names ?? []).filter((name) => !name.startsWith("__") && name !== SERVICE_LABEL);
}

/** Each label with its values, and how many series have each; the values that most have come first. */
export async function labelSets(selector: string, range: Range, signal: AbortSignal): Promise<Map<string, Map<string, number>>> {
  const answer = await call<{ labelsSet?: WireLabels[] }>("Series", { matchers: [selector], labelNames: [], ...times(range) }, signal);
  const counts = new Map<string, Map<string, number>>();
  for (const set of answer.labelsSet ?? []) {
    for (const { name = "", value = "" } of set.labels ?? []) {
      if (name.startsWith("__")) continue;
      if (!counts.has(name)) counts.set(name, new Map());
      const values = counts.get(name)!;
      values.set(value, (values.get(value) ?? 0) + 1);
    }
  }
  const byName = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(byName.map(([name, values]) => [name, new Map([...values].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)))]));
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
  step = fineStep(range),
): Promise<Series[]> {
  const answer = await call<{ series?: WireSeries[] }>(
    "SelectSeries",
    {
      profileTypeID: type.id,
      labelSelector: selector,
      step,
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

/** `below` names the functions from the root down to one; only stacks that begin so are asked for. */
export async function flameGraph(type: string, selector: string, range: Range, signal: AbortSignal, below: string[] = []): Promise<FlameAnswer> {
  if (below.length === 0) return flameColumns(new URLSearchParams({ query: type + selector, from: nanos(range.from), until: nanos(range.until + 1, -1) }), signal);
  // A stack of long names does not fit into an address.
  const request = stacksRequest(type, selector, range).int(5, MAX_NODES).int(6, FORMAT_FLAMEGRAPH);
  const site = new Writer();
  for (const name of below) site.message(1, new Writer().text(1, name).bytes());
  request.message(7, site.bytes());
  const { bytes, cost } = await callBinary("SelectMergeStacktraces", request.bytes(), signal);
  return { flame: readFlameAnswer(bytes, MAX_NODES), cost };
}

/** `/api/v1/flamegraph` with `params`: the form that is read the quickest. */
export async function flameColumns(params: URLSearchParams, signal: AbortSignal): Promise<FlameAnswer> {
  const { bytes, cost } = await getBinary(`/api/v1/flamegraph?${params}`, signal);
  return { flame: readFlameColumns(bytes), cost };
}

/** Milliseconds as the server takes times to the nanosecond. */
export function nanos(ms: number, add = 0): string {
  return String(BigInt(ms) * 1_000_000n + BigInt(add));
}

/** Where the functions come from that ran in the range. */
export async function places(type: string, selector: string, range: Range, signal: AbortSignal): Promise<Places> {
  const { bytes } = await callBinary("SelectMergeProfile", stacksRequest(type, selector, range).bytes(), signal);
  return readPlaces(bytes);
}

/** All profiles of the range as one, for its lines. */
export async function rawProfile(type: string, selector: string, range: Range, signal: AbortSignal): Promise<Raw> {
  const { bytes } = await callBinary("SelectMergeProfile", stacksRequest(type, selector, range).bytes(), signal);
  return readRaw(bytes);
}

function stacksRequest(type: string, selector: string, range: Range): Writer {
  return new Writer().text(1, type).text(2, selector).int(3, range.from).int(4, range.until);
}

export function pprofUrl(type: string, selector: string, range: Range): string {
  const params = new URLSearchParams({
    query: type + selector,
    from: String(range.from),
    until: String(range.until),
  });
  return `/api/v1/pprof?${params}`;
}
