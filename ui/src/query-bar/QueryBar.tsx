// What is looked at: service, profile type, labels and range. Every page that asks has this bar.

import { type ReactNode, useLayoutEffect } from "react";
import { type Service, services as askServices } from "../api/queries";
import { type Query, useQuery } from "../api/use-query";
import { visible } from "../flamegraph/label";
import { byImportance, kindOf, parseProfileType, type ProfileType } from "../profile/profile-type";
import { nameServices } from "../profile/selector";
import type { Range } from "../profile/time";
import { TimeRange } from "../shell/TimeRange";
import { text } from "../text";
import type { QueryState } from "../url/state";
import { LabelFilters } from "./LabelFilters";
import "./query-bar.css";

interface Props {
  state: QueryState;
  range: Range;
  list: Query<Service[]>;
  go: (change: Partial<QueryState>) => void;
  onRefresh: () => void;
  children?: ReactNode;
}

export function useServices(range: Range): Query<Service[]> {
  return useQuery(`services ${range.from} ${range.until}`, (signal) => askServices(range, signal));
}

/** Without a service, or without its type, the first is shown; the URL says which. Filters may name services, too. */
export function useFirstService(state: QueryState, list: Query<Service[]>, amend: (change: Partial<QueryState>) => void): void {
  const isNamed = state.service === "" && (nameServices(state.filters) || state.unread !== undefined);
  const fallback = state.service === "" ? list.data?.[0] : list.data?.find((each) => each.name === state.service);
  const service = isNamed ? "" : fallback?.name;
  const type = state.type || (isNamed ? typesOf(list.data, state)[0]?.id : fallback?.types[0]?.id);
  useLayoutEffect(() => {
    if (service === undefined || type === undefined) return;
    if (service !== state.service || type !== state.type) amend({ service, type });
  }, [service, type, state.service, state.type]);
}

/** What a service sends; without a service, what any of them does. */
function typesOf(list: Service[] | undefined, state: QueryState): ProfileType[] {
  if (state.service !== "") return list?.find((each) => each.name === state.service)?.types ?? [];
  const all = new Map(list?.flatMap(({ types }) => types.map((type) => [type.id, type] as const)));
  return [...all.values()].sort(byImportance);
}

export function QueryBar({ state, range, list, go, onRefresh, children }: Props) {
  const names = list.data?.map((each) => each.name) ?? [];
  const types = typesOf(list.data, state);
  return (
    <div className="query-bar">
      <ServiceSelect
        label={text.explore.service}
        names={names}
        value={state.service}
        onChange={(name) => {
          const next = list.data?.find((each) => each.name === name);
          const same = next?.types.find((each) => each.id === state.type) ?? next?.types[0];
          go({ service: name, type: same?.id ?? "", filters: [], unread: undefined });
        }}
      />
      <TypeSelect types={types} value={state.type} onChange={(type) => go({ type })} />
      <LabelFilters service={state.service} filters={state.filters} range={range} onChange={(filters) => go({ filters, unread: undefined })} />
      <span className="grow" />
      {children}
      <TimeRange from={state.from} until={state.until} onChange={(from, until) => go({ from, until })} onRefresh={onRefresh} />
    </div>
  );
}

export function ServiceSelect({ label, names, value, onChange }: { label: string; names: string[]; value: string; onChange: (name: string) => void }) {
  return (
    <select className="select" aria-label={label} value={value} onChange={(event) => onChange(event.target.value)}>
      {!names.includes(value) && <option value={value}>{visible(value) || text.explore.chooseService}</option>}
      {names.map((name) => (
        <option key={name} value={name}>
          {visible(name)}
        </option>
      ))}
    </select>
  );
}

export function TypeSelect({ types, value, onChange }: { types: ProfileType[]; value: string; onChange: (type: string) => void }) {
  const type = parseProfileType(value);
  return (
    <select className="select" aria-label={text.explore.type} value={value} onChange={(event) => onChange(event.target.value)}>
      {!types.some((each) => each.id === value) && <option value={value}>{type ? typeName(type) : text.explore.type}</option>}
      {types.map((each) => (
        <option key={each.id} value={each.id}>
          {typeName(each)}
        </option>
      ))}
    </select>
  );
}

export function typeName(type: ProfileType): string {
  return `${text.kinds[kindOf(type)]} (${text.typeDetail(visible(type.sampleType), visible(type.sampleUnit))})`;
}
