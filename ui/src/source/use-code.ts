// Whether the code of a service can be shown, and at which version.

import { getJson } from "../api/client";
import { labelSets } from "../api/queries";
import { useQuery } from "../api/use-query";
import { VERSION_LABELS } from "../explore/TimelinePanel";
import { type LabelFilter, selectorOf } from "../profile/selector";
import type { Range } from "../profile/time";

/** What the code is asked for with. */
export interface Code {
  service: string;
  type: string;
  selector: string;
  range: Range;
  filters: LabelFilter[];
}

/** `undefined` until it is known. */
export function useCode(service: string): boolean | undefined {
  return useQuery(service === "" ? null : `source ${service}`, (signal) => getJson("/api/v1/source", signal, new URLSearchParams({ service }))).data?.available;
}

/** The version that is looked at: the one that is filtered by, else the only one that there is. */
export function useRevision({ service, filters, selector, range }: Code): { known: boolean; revision: string } {
  const labels = [...VERSION_LABELS].reverse();
  const chosen = filters.find(({ name, operator }) => operator === "=" && labels.includes(name));
  const sets = useQuery(chosen ? null : `label-sets ${selector} ${range.from} ${range.until}`, (signal) => labelSets(selectorOf(service, filters), range, signal));
  if (chosen) return { known: true, revision: chosen.value };
  const values = labels.map((label) => [...(sets.data?.get(label)?.keys() ?? [])].filter((value) => value !== "")).find((each) => each.length > 0) ?? [];
  return { known: sets.data !== undefined || sets.error !== undefined, revision: values.length === 1 ? values[0]! : "" };
}
