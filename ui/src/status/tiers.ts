// What the services take on disk, by how far it is summed up.

import type { Storage } from "../api/openapi";

export const TIERS = ["raw", "5m", "1h", "1d", "names"] as const;
export type Tier = (typeof TIERS)[number];

export interface TierRow {
  name: string;
  bytes: number;
  tiers: Record<Tier, number>;
}

/** `samples_5m_service` is of the tier 5m. Stacks and series are what all others refer to. */
export function tierOf(table: string): Tier {
  const tier = /_(5m|1h|1d)(?:_|$)/.exec(table)?.[1];
  if (tier) return tier as Tier;
  return table === "stacks" || table === "series" ? "names" : "raw";
}

export function tierRow({ name, bytes, tables }: Storage["services"][number]): TierRow {
  const tiers = empty();
  for (const [table, size] of Object.entries(tables)) tiers[tierOf(table)] += size;
  return { name, bytes, tiers };
}

export function sumOf(rows: TierRow[], name: string): TierRow {
  const tiers = empty();
  for (const row of rows) for (const tier of TIERS) tiers[tier] += row.tiers[tier];
  return { name, tiers, bytes: rows.reduce((sum, row) => sum + row.bytes, 0) };
}

const empty = (): Record<Tier, number> => ({ raw: 0, "5m": 0, "1h": 0, "1d": 0, names: 0 });
