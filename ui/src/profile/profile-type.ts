// Profile types, `name:sample_type:sample_unit:period_type:period_unit`: what they measure and how
// their timeline is read.

import { type Rate, unitOf } from "./units";

export interface ProfileType {
  id: string;
  name: string;
  sampleType: string;
  sampleUnit: string;
  periodType: string;
  periodUnit: string;
}

/** What kind of thing is measured; texts name it. */
export type Kind = "cpu" | "samples" | "wall" | "memory-in-use" | "allocations" | "waiting" | "goroutines" | "exceptions" | "other";

export function parseProfileType(id: string): ProfileType | null {
  const parts = id.split(":");
  if (parts.length !== 5 && parts.length !== 6) return null;
  const [name, sampleType, sampleUnit, periodType, periodUnit] = parts as [string, string, string, string, string];
  return name === "" ? null : { id, name, sampleType, sampleUnit, periodType, periodUnit };
}

/** Time and counts of threads that did not run: off the processor, parked, behind a lock. */
const WAITING = /^(off_?cpu|park|lock|delay|contention|wait|block|mutex|sleep|idle|futex)(s?$|_|ed|ing)/;
const CPU = /^(on_?)?cpu(_|$)|^task_clock$/;

export function kindOf(type: ProfileType): Kind {
  const sample = type.sampleType.toLowerCase().replaceAll("-", "_");
  const name = type.name.toLowerCase().replaceAll("-", "_");
  if (sample.startsWith("inuse_") || sample === "live") return "memory-in-use";
  if (sample.startsWith("alloc") || sample.startsWith("malloc")) return "allocations";
  if (sample.startsWith("goroutine")) return "goroutines";
  if (WAITING.test(sample) || WAITING.test(name)) return "waiting";
  if (sample.includes("exception") || type.name.startsWith("exception")) return "exceptions";
  if (/^wall(_|$)/.test(sample) || name === "wall") return "wall";
  if (type.sampleUnit === "count" && (sample === "samples" || sample === "sample")) return "samples";
  if (CPU.test(sample) || name === "process_cpu") return "cpu";
  return "other";
}

/** Levels (memory in use, goroutines) are averaged over time; everything else happened and is summed. */
export function isLevel(type: ProfileType): boolean {
  const kind = kindOf(type);
  return kind === "memory-in-use" || kind === "goroutines";
}

export function rateOf(type: ProfileType): Rate {
  const { unit } = unitOf(type.sampleUnit);
  if (isLevel(type)) return unit === "bytes" ? "bytes" : unit === "count" ? "count" : "time";
  if (unit === "bytes") return "bytes/s";
  if (unit === "count") return "count/s";
  const rates: Partial<Record<Kind, Rate>> = { cpu: "cores", waiting: "waiting", wall: "threads" };
  return rates[kindOf(type)] ?? "time/s";
}

/** One point's value from the sum (or, for levels, the average) over `seconds`. */
export function perSecond(type: ProfileType, value: number, seconds: number): number {
  if (isLevel(type)) return value;
  const { unit, factor } = unitOf(type.sampleUnit);
  const amount = unit === "duration" ? (value * factor) / 1e9 : value;
  return seconds > 0 ? amount / seconds : 0;
}

const KIND_ORDER: Kind[] = ["cpu", "samples", "memory-in-use", "allocations", "wall", "goroutines", "waiting", "exceptions", "other"];

/** CPU time first, then memory in bytes, then the rest: the first is what a service's card shows. */
export function byImportance(a: ProfileType, b: ProfileType): number {
  return rank(a) - rank(b) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function rank(type: ProfileType): number {
  return KIND_ORDER.indexOf(kindOf(type)) * 2 + (type.sampleUnit === "count" ? 1 : 0);
}
