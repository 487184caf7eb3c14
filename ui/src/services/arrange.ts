// Which services are shown, in which order, under which headings.

import type { Service } from "../api/queries";

export const SORTS = ["name", "value", "change", "seen"] as const;
export type Sort = (typeof SORTS)[number];

export interface Facts {
  sum: number;
  lastWeek: number;
  lastSeen: number;
}

export type Item = { kind: "heading"; value: string; services: number } | { kind: "service"; service: Service };

export function arrange(services: Service[], sort: Sort, factsOf: (service: Service) => Facts, groupBy: string): Item[] {
  const change = (facts: Facts) => (facts.lastWeek > 0 ? facts.sum / facts.lastWeek : 0);
  const rank = (service: Service) => {
    const facts = factsOf(service);
    return sort === "value" ? facts.sum : sort === "change" ? change(facts) : sort === "seen" ? facts.lastSeen : 0;
  };
  const byName = (a: Service, b: Service) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  const sorted = [...services].sort((a, b) => rank(b) - rank(a) || byName(a, b));
  if (groupBy === "") return sorted.map((service) => ({ kind: "service", service }));
  const groups = new Map<string, Service[]>();
  for (const service of sorted) {
    for (const value of service.groups.length > 0 ? service.groups : [""]) {
      if (!groups.has(value)) groups.set(value, []);
      groups.get(value)!.push(service);
    }
  }
  return [...groups]
    .sort(([a], [b]) => (a === "" ? 1 : b === "" ? -1 : a < b ? -1 : 1))
    .flatMap(([value, members]) => [{ kind: "heading" as const, value, services: members.length }, ...members.map((service) => ({ kind: "service" as const, service }))]);
}
