// Questions about single profiles and spans: how many by time and value, which, and what they add up to.

import type { Area } from "../profile/heatmap";
import type { Range } from "../profile/time";
import { getJson } from "./client";
import type { Heatmap, Profile } from "./openapi";
import { type FlameAnswer, flameColumns, nanos } from "./queries";

export const SINGLES = ["profiles", "spans"] as const;
export type Singles = (typeof SINGLES)[number];

/** A profile or a span, whose duration is 0. */
export type Single = Profile;

export interface SingleList {
  singles: Single[];
  /** There are more than were asked for. */
  more: boolean;
}

export const ORDERS = ["largest", "newest", "oldest"] as const;
export type Order = (typeof ORDERS)[number];

/** A millisecond ends just before the next. */
const begin = (ms: number) => nanos(ms);
const end = (ms: number) => nanos(ms + 1, -1);

function paramsOf(query: string, range: Range): URLSearchParams {
  return new URLSearchParams({ query, from: begin(range.from), until: end(range.until) });
}

function addArea(params: URLSearchParams, area: Area): void {
  params.set("start", begin(area.from));
  params.set("end", end(area.until));
  params.set("min", String(area.min));
  params.set("max", String(area.max));
}

export async function heatmap(query: string, range: Range, of: Singles, columns: number, bands: number, signal: AbortSignal): Promise<Heatmap> {
  const params = paramsOf(query, range);
  for (const [name, value] of [["of", of], ["x", String(columns)], ["y", String(bands)]] as const) params.set(name, value);
  return getJson("/api/v1/heatmap", signal, params);
}

/** Single profiles of an area, or of the whole range. Spans come with the largest first. */
export async function singles(query: string, range: Range, of: Singles, area: Area | null, order: Order, limit: number, signal: AbortSignal): Promise<SingleList> {
  const within = of === "profiles" && area ? { from: Math.max(range.from, area.from), until: Math.min(range.until, area.until) } : range;
  const params = paramsOf(query, within);
  if (area && of === "spans") addArea(params, area);
  else if (area) for (const bound of ["min", "max"] as const) params.set(bound, String(area[bound]));
  if (of === "profiles") params.set("order", order);
  params.set("limit", String(limit));
  if (of === "profiles") {
    const { profiles, more } = await getJson("/api/v1/profiles", signal, params);
    return { singles: profiles, more };
  }
  const { spans, more } = await getJson("/api/v1/spans", signal, params);
  return { singles: spans.map((span) => ({ ...span, duration: 0 })), more };
}

/** Which of them are looked at: one, those of an area, or all. */
export interface Chosen {
  of: Singles;
  id: string;
  area: Area | null;
}

function chosenParams(query: string, range: Range, { of, id, area }: Chosen): URLSearchParams {
  const params = paramsOf(query, range);
  if (id !== "") params.set(of === "spans" ? "span" : "id", id);
  else if (area) {
    params.set("of", of);
    addArea(params, area);
  }
  return params;
}

export function chosenPprofUrl(query: string, range: Range, chosen: Chosen): string {
  return `/api/v1/pprof?${chosenParams(query, range, chosen)}`;
}

export async function chosenFlameGraph(query: string, range: Range, chosen: Chosen, signal: AbortSignal): Promise<FlameAnswer> {
  return flameColumns(chosenParams(query, range, chosen), signal);
}
