// Label filters and their text, `{service_name="shop",region=~"eu-.*"}`, as the query API reads it.

export const OPERATORS = ["=", "!=", "=~", "!~"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface LabelFilter {
  name: string;
  operator: Operator;
  value: string;
}

export const SERVICE_LABEL = "service_name";
export const TYPE_LABEL = "__profile_type__";

/** Whether filters say which services are asked for, without one being chosen. */
export function nameServices(filters: LabelFilter[]): boolean {
  return filters.some(({ name }) => name === SERVICE_LABEL);
}

export function quote(value: string): string {
  return `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`;
}

export function formatFilters(filters: LabelFilter[]): string {
  return filters.map((f) => `${formatName(f.name)}${f.operator}${quote(f.value)}`).join(",");
}

/** Names that PromQL does not take bare are quoted, as its UTF-8 grammar does. */
function formatName(name: string): string {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : quote(name);
}

export function selectorOf(service: string, filters: LabelFilter[]): string {
  const all: LabelFilter[] = service === "" ? filters : [{ name: SERVICE_LABEL, operator: "=", value: service }, ...filters];
  return `{${formatFilters(all)}}`;
}

const FILTER = /\s*(?:([a-zA-Z_][a-zA-Z0-9_.]*)|"((?:[^"\\]|\\.)*)")\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(,|$)/y;

/** Reads back what `formatFilters` wrote; null when the text is no list of filters. */
export function parseFilters(text: string): LabelFilter[] | null {
  const filters: LabelFilter[] = [];
  FILTER.lastIndex = 0;
  let position = 0;
  while (position < text.length) {
    FILTER.lastIndex = position;
    const match = FILTER.exec(text);
    if (!match) return null;
    filters.push({
      name: match[1] ?? unquote(match[2]!),
      operator: match[3] as Operator,
      value: unquote(match[4]!),
    });
    position = FILTER.lastIndex;
  }
  return filters;
}

function unquote(body: string): string {
  return body.replace(/\\(.)/gs, (_, c: string) => (c === "n" ? "\n" : c));
}
