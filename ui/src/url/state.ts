// The whole state of a page lives in its URL, so that every view can be shared and the back button
// does what it says. `v` is the version of the parameters: a change of their meaning raises it and
// adds one function to UPGRADES, and old links go on working.

import { type LabelFilter, formatFilters, parseFilters } from "../profile/selector";

export const URL_VERSION = 1;

/** UPGRADES[n] turns the parameters of version n + 1 into those of version n + 2. */
const UPGRADES: ((params: URLSearchParams) => URLSearchParams)[] = [];

export const VIEWS = ["both", "flame", "table"] as const;
export type View = (typeof VIEWS)[number];

export interface ExploreState {
  service: string;
  type: string;
  filters: LabelFilter[];
  from: string;
  until: string;
  /** Path of the node that fills the width, see profile/path.ts. */
  zoom: string;
  search: string;
  view: View;
}

export interface ServicesState {
  from: string;
  until: string;
  search: string;
}

export const DEFAULT_FROM = "now-1h";
export const DEFAULT_UNTIL = "now";

function upgraded(search: string): URLSearchParams {
  let params = new URLSearchParams(search);
  const version = Number(params.get("v") ?? URL_VERSION);
  for (let v = Math.max(1, version); v < URL_VERSION; v++) params = UPGRADES[v - 1]?.(params) ?? params;
  return params;
}

export function readExplore(search: string): ExploreState {
  const params = upgraded(search);
  const view = params.get("view") as View | null;
  return {
    service: params.get("service") ?? "",
    type: params.get("type") ?? "",
    filters: parseFilters(params.get("labels") ?? "") ?? [],
    from: params.get("from") || DEFAULT_FROM,
    until: params.get("until") || DEFAULT_UNTIL,
    zoom: params.get("zoom") ?? "",
    search: params.get("search") ?? "",
    view: view && VIEWS.includes(view) ? view : "both",
  };
}

export function readServices(search: string): ServicesState {
  const params = upgraded(search);
  return {
    from: params.get("from") || DEFAULT_FROM,
    until: params.get("until") || DEFAULT_UNTIL,
    search: params.get("search") ?? "",
  };
}

export function exploreUrl(state: Partial<ExploreState>): string {
  return url("/explore", {
    service: state.service,
    type: state.type,
    labels: state.filters && formatFilters(state.filters),
    from: state.from,
    until: state.until,
    zoom: state.zoom,
    search: state.search,
    view: state.view === "both" ? "" : state.view,
  });
}

export function servicesUrl(state: Partial<ServicesState>): string {
  return url("/", { from: state.from, until: state.until, search: state.search });
}

const DEFAULTS: Record<string, string> = { from: DEFAULT_FROM, until: DEFAULT_UNTIL };

function url(path: string, values: Record<string, string | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value && DEFAULTS[name] !== value) params.set(name, value);
  }
  const rest = params.toString();
  return rest === "" ? path : `${path}?v=${URL_VERSION}&${rest}`;
}
