// The whole state of a page lives in its URL, so that every view can be shared and the back button
// does what it says. `v` is the version of the parameters: a change of their meaning raises it and
// adds one function to UPGRADES, and old links go on working.

import { SINGLES, type Singles } from "../api/singles";
import { COLOR_MODES, type ColorMode } from "../flamegraph/coloring";
import { GROWS, type Grows } from "../flamegraph/viewport";
import { parseProfileType } from "../profile/profile-type";
import { type LabelFilter, formatFilters, parseFilters, SERVICE_LABEL } from "../profile/selector";
import type { Area } from "../profile/heatmap";
import { GROUPS, type Shape } from "../profile/reshape";
import { NORMS, type Norm } from "../profile/diff";

export const URL_VERSION = 1;

type Upgrade = (params: URLSearchParams) => URLSearchParams;

/** UPGRADES[n] turns the parameters of version n into those of version n + 1. */
const UPGRADES: Upgrade[] = [fromPyroscope];

export const VIEWS = ["both", "flame", "table", "sandwich", "tree", "source"] as const;
export type View = (typeof VIEWS)[number];

/** How a profile is looked at, whatever page shows it. */
export interface ViewState extends Shape {
  /** Path of the node that fills the width, see profile/path.ts. */
  zoom: string;
  search: string;
  view: View;
  /** Hash of the function that is selected in all views. */
  fn: string;
  colors: ColorMode;
  grows: Grows;
}

/** What is looked at. */
export interface QueryState extends Sided {
  type: string;
}

export interface ExploreState extends QueryState, ViewState {
  /** Label by which the timeline is stacked. */
  by: string;
}

export interface LabelsState extends QueryState {
  by: string;
}

export interface FunctionState extends QueryState {
  name: string;
  by: string;
}

/** Single profiles or spans, a part of them, and the one that is looked at. */
export interface HeatmapState extends QueryState, ViewState {
  of: Singles;
  area: Area | null;
  one: string;
}

export const SQL_SHOWS = ["table", "chart"] as const;

/** A statement, and how its answer is shown. */
export interface SqlState {
  query: string;
  show: (typeof SQL_SHOWS)[number];
}

export interface Sided {
  service: string;
  filters: LabelFilter[];
  /** What the link has for labels, where no filters can be read from it. */
  unread?: string | undefined;
  from: string;
  until: string;
}

export const LAYOUTS = ["diff", "table", "sides"] as const;
export type Layout = (typeof LAYOUTS)[number];

export interface CompareState extends ViewState {
  type: string;
  before: Sided;
  after: Sided;
  norm: Norm;
  layout: Layout;
}

export interface ServicesState {
  from: string;
  until: string;
  search: string;
  sort: string;
  by: string;
}

export const DEFAULT_FROM = "now-1h";
export const DEFAULT_UNTIL = "now";

export function upgraded(search: string): URLSearchParams {
  let params = new URLSearchParams(search);
  const version = params.has("v") ? Number(params.get("v")) || URL_VERSION : params.has("query") || params.has("leftQuery") ? 0 : URL_VERSION;
  for (let v = Math.max(0, version); v < URL_VERSION; v++) params = UPGRADES[v]?.(params) ?? params;
  return params;
}

/** Links of Pyroscope's own pages: `query=type{labels}`, for comparisons one for each side. */
function fromPyroscope(params: URLSearchParams): URLSearchParams {
  const next = new URLSearchParams(params);
  const translate = (query: string, service: string, labels: string) => {
    const written = params.get(query) ?? "";
    const [, type = "", selector = ""] = /^([^{]*)\{(.*)\}$/s.exec(written) ?? (!written.includes("{") && parseProfileType(written) ? ["", written] : []);
    const filters = type === "" && selector === "" ? null : parseFilters(selector);
    const named = filters?.find((filter) => filter.name === SERVICE_LABEL && filter.operator === "=");
    if (type) next.set("type", type);
    if (named) next.set(service, named.value);
    // What cannot be read stays as it is, for the page to say so.
    next.set(labels, filters ? formatFilters(filters.filter((filter) => filter !== named)) : selector || written);
    next.delete(query);
  };
  translate("query", "service", "labels");
  translate("leftQuery", "service1", "labels1");
  translate("rightQuery", "service2", "labels2");
  for (const [old, name] of [["leftFrom", "from1"], ["leftUntil", "until1"], ["rightFrom", "from2"], ["rightUntil", "until2"]] as const) {
    if (params.has(old)) next.set(name, params.get(old)!);
    next.delete(old);
  }
  return next;
}

function choice<T extends string>(params: URLSearchParams, name: string, choices: readonly T[]): T {
  const value = params.get(name) as T | null;
  return value !== null && choices.includes(value) ? value : choices[0]!;
}

const list = (text: string | null) => (text ?? "").split(".").filter((item) => /^[0-9a-z]+$/.test(item));

function readQuery(params: URLSearchParams): QueryState {
  return { ...readSide(params, ""), type: params.get("type") ?? "" };
}

function readSide(params: URLSearchParams, side: "" | "1" | "2"): Sided {
  const labels = params.get(`labels${side}`) ?? "";
  const filters = parseFilters(labels);
  return {
    service: params.get(`service${side}`) ?? "",
    filters: filters ?? [],
    ...(filters ? {} : { unread: labels }),
    from: params.get(`from${side}`) || DEFAULT_FROM,
    until: params.get(`until${side}`) || DEFAULT_UNTIL,
  };
}

function readViewState(params: URLSearchParams): ViewState {
  return {
    zoom: params.get("zoom") ?? "",
    search: params.get("search") ?? "",
    view: choice(params, "view", VIEWS),
    fn: params.get("fn") ?? "",
    colors: choice(params, "colors", COLOR_MODES),
    grows: choice(params, "grows", GROWS),
    focus: list(params.get("focus"))[0] ?? "",
    hide: list(params.get("hide")),
    merge: list(params.get("merge")),
    collapse: choice(params, "recursion", ["keep", "collapse"]),
    group: choice(params, "group", GROUPS),
  };
}

export function readExplore(search: string): ExploreState {
  const params = upgraded(search);
  return { ...readQuery(params), ...readViewState(params), by: params.get("by") ?? "" };
}

export function readView(search: string): ViewState {
  return readViewState(upgraded(search));
}

export function readLabels(search: string): LabelsState {
  const params = upgraded(search);
  return { ...readQuery(params), by: params.get("by") ?? "" };
}

export function readFunction(search: string): FunctionState {
  const params = upgraded(search);
  return { ...readQuery(params), name: params.get("name") ?? "", by: params.get("by") ?? "" };
}

export function readHeatmap(search: string): HeatmapState {
  const params = upgraded(search);
  return {
    ...readQuery(params),
    ...readViewState(params),
    of: choice(params, "of", SINGLES),
    area: readArea(params.get("area")),
    one: /^[0-9a-f-]{16,36}$/.test(params.get("one") ?? "") ? params.get("one")! : "",
  };
}

/** `from.until.min.max`, whole numbers, `_` before a negative one. */
function readArea(written: string | null): Area | null {
  const parts = (written ?? "").split(".");
  if (parts.length !== 4 || !parts.every((part) => /^_?\d{1,19}$/.test(part))) return null;
  const [from, until, min, max] = parts.map((part) => Number(part.replace("_", "-"))) as [number, number, number, number];
  return from <= until && min <= max ? { from, until, min, max } : null;
}

const writeArea = ({ from, until, min, max }: Area) => [from, until, min, max].map((part) => BigInt(part).toString().replace("-", "_")).join(".");

/** `query` in a link without a version is one of Pyroscope's, hence `q`. */
export function readSql(search: string): SqlState {
  const params = upgraded(search);
  return { query: params.get("q") ?? "", show: choice(params, "show", SQL_SHOWS) };
}

export function readCompare(search: string): CompareState {
  const params = upgraded(search);
  const view = readViewState(params);
  return {
    ...view,
    colors: params.has("colors") ? view.colors : "growth",
    type: params.get("type") ?? "",
    before: readSide(params, "1"),
    after: readSide(params, "2"),
    norm: choice(params, "norm", NORMS),
    layout: choice(params, "layout", LAYOUTS),
  };
}

export function readServices(search: string): ServicesState {
  const params = upgraded(search);
  return {
    from: params.get("from") || DEFAULT_FROM,
    until: params.get("until") || DEFAULT_UNTIL,
    search: params.get("search") ?? "",
    sort: params.get("sort") ?? "",
    by: params.get("by") ?? "",
  };
}

type Values = Record<string, string | undefined>;

function queryValues(state: Partial<QueryState>): Values {
  return {
    service: state.service,
    type: state.type,
    labels: labelsValue(state),
    from: unless(state.from, DEFAULT_FROM),
    until: unless(state.until, DEFAULT_UNTIL),
  };
}

const labelsValue = ({ filters = [], unread }: Partial<Sided>) => formatFilters(filters) || unread;

function viewValues(state: Partial<ViewState>): Values {
  return {
    zoom: state.zoom,
    search: state.search,
    view: unless(state.view, VIEWS[0]),
    fn: state.fn,
    colors: unless(state.colors, COLOR_MODES[0]),
    grows: unless(state.grows, GROWS[0]),
    focus: state.focus,
    hide: state.hide?.join("."),
    merge: state.merge?.join("."),
    recursion: unless(state.collapse, "keep"),
    group: unless(state.group, GROUPS[0]),
  };
}

function sideValues(state: Sided, side: "1" | "2"): Values {
  return {
    [`service${side}`]: state.service,
    [`labels${side}`]: labelsValue(state),
    [`from${side}`]: unless(state.from, DEFAULT_FROM),
    [`until${side}`]: unless(state.until, DEFAULT_UNTIL),
  };
}

const unless = (value: string | undefined, otherwise: string) => (value === otherwise ? undefined : value);

export function exploreUrl(state: Partial<ExploreState>): string {
  return url("/explore", { ...queryValues(state), ...viewValues(state), by: state.by });
}

export function labelsUrl(state: Partial<LabelsState>): string {
  return url("/labels", { ...queryValues(state), by: state.by });
}

export function heatmapUrl(state: Partial<HeatmapState>): string {
  return url("/heatmap", {
    ...queryValues(state),
    ...viewValues(state),
    of: unless(state.of, SINGLES[0]),
    area: state.area ? writeArea(state.area) : "",
    one: state.one,
  });
}

export function sqlUrl(state: Partial<SqlState>): string {
  return url("/sql", { q: state.query, show: unless(state.show, SQL_SHOWS[0]) });
}

export function functionUrl(state: Partial<FunctionState>): string {
  return url("/function", { ...queryValues(state), name: state.name, by: state.by });
}

/** `files` are kept by the server. */
export function adhocUrl(state: Partial<ViewState>, files: string[] = []): string {
  return url("/adhoc", { files: files.join(BETWEEN_FILES), ...viewValues(state) });
}

/** Stands in no name of a file. */
const BETWEEN_FILES = "~";
const FILE_ID = /^[\w.-]{26,256}$/;

export function readFiles(search: string): string[] {
  const files = (upgraded(search).get("files") ?? "").split(BETWEEN_FILES);
  return files.every((id) => FILE_ID.test(id)) ? files.slice(0, 2) : [];
}

export function compareUrl(state: Partial<CompareState> & Pick<CompareState, "before" | "after">): string {
  return url("/compare", {
    type: state.type,
    ...sideValues(state.before, "1"),
    ...sideValues(state.after, "2"),
    norm: unless(state.norm, NORMS[0]),
    layout: unless(state.layout, LAYOUTS[0]),
    ...viewValues(state),
    colors: unless(state.colors, "growth"),
  });
}

export function servicesUrl(state: Partial<ServicesState>): string {
  return url("/", {
    from: unless(state.from, DEFAULT_FROM),
    until: unless(state.until, DEFAULT_UNTIL),
    search: state.search,
    sort: state.sort,
    by: state.by,
  });
}

/** Where a link leads that another product's pages made; null where it is one of these pages'. */
export function translated(path: string, search: string): string | null {
  const params = new URLSearchParams(search);
  return path === "/" && params.has("query") && !params.has("v") ? exploreUrl(readExplore(search)) : null;
}

function url(path: string, values: Values): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) params.set(name, value);
  const rest = params.toString();
  return rest === "" ? path : `${path}?v=${URL_VERSION}&${rest}`;
}
