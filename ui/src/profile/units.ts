// Turns values into what a person says: cores, GiB, milliseconds. Never more than three
// significant digits.

import { text } from "../text";

/** How a value of a profile type is measured. */
export type Unit = "duration" | "bytes" | "count";

const SI = ["", "k", "M", "G", "T", "P", "E"];
const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

const DURATIONS: [number, string][] = [
  [365 * 86_400e9, "y"],
  [86_400e9, "d"],
  [3_600e9, "h"],
  [60e9, "min"],
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

const NANOSECONDS: Record<string, number> = {
  nanoseconds: 1,
  microseconds: 1e3,
  milliseconds: 1e6,
  seconds: 1e9,
};

/** The sample unit of a profile type as (unit, factor to nanoseconds, bytes or ones). */
export function unitOf(sampleUnit: string): { unit: Unit; factor: number } {
  const nanos = NANOSECONDS[sampleUnit];
  if (nanos !== undefined) return { unit: "duration", factor: nanos };
  return { unit: sampleUnit === "bytes" ? "bytes" : "count", factor: 1 };
}

/** Three significant digits, without an exponent and without zeros that say nothing. */
export function threeDigits(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

function scaled(value: number, steps: string[], base: number): string {
  let step = 0;
  let scaled = value;
  // Bytes are whole, and as exact as they are; 1,010 KiB would have a fourth digit.
  while (Math.abs(scaled) >= (step === 0 ? base * 0.9995 : 999.5) && step < steps.length - 1) {
    scaled /= base;
    step++;
  }
  const unit = steps[step]!;
  return unit === "" ? small(scaled) : `${small(scaled)} ${unit}`;
}

/** The smallest amount that is written in digits. */
const LEAST = 0.001;

/** Three digits; what is next to nothing is said to be so, not written with an exponent. */
function small(value: number): string {
  if (value !== 0 && Math.abs(value) < LEAST) return value > 0 ? `< ${LEAST}` : `> -${LEAST}`;
  return threeDigits(value);
}

function formatDuration(nanos: number): string {
  if (nanos === 0) return "0 s";
  const size = Math.abs(nanos);
  const [factor, unit] = DURATIONS.find(([f]) => size >= f * 0.9995) ?? [1, "ns"];
  return `${small(nanos / factor)} ${unit}`;
}

/** `value` in the sample unit of its type. */
export function formatValue(value: number, sampleUnit: string): string {
  const { unit, factor } = unitOf(sampleUnit);
  switch (unit) {
    case "duration":
      return formatDuration(value * factor);
    case "bytes":
      return scaled(value, IEC, 1024);
    case "count":
      return scaled(value, SI, 1000);
  }
}

export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent !== 0 && Math.abs(percent) < 0.01) return percent > 0 ? "< 0.01 %" : "> -0.01 %";
  return `${threeDigits(Number(percent.toFixed(2)))} %`;
}

/**
 * What one point of a timeline says: cores for CPU time, so many a second for events, the amount for levels. Times that
 * nothing else is known of are seconds a second.
 */
export type Rate = "cores" | "waiting" | "threads" | "bytes/s" | "count/s" | "bytes" | "count" | "time" | "time/s";

function formatCores(value: number): string {
  const size = Math.abs(value);
  const { core, cores } = text.units;
  if (size >= 0.01 || value === 0) return `${scaled(value, SI, 1000)} ${value === 1 ? core : cores}`;
  if (size >= 1e-5) return `${threeDigits(value * 1e3)} ${text.units.millicores}`;
  if (size >= 1e-6) return `${threeDigits(value * 1e6)} ${text.units.microcores}`;
  return `${value > 0 ? "<" : ">"} ${value > 0 ? "" : "-"}1 ${text.units.microcore}`;
}

export function formatRate(value: number, rate: Rate): string {
  switch (rate) {
    case "cores":
      return formatCores(value);
    case "waiting":
      return `${scaled(value, SI, 1000)} ${text.units.waiting}`;
    case "threads":
      return `${scaled(value, SI, 1000)} ${value === 1 ? text.units.thread : text.units.threads}`;
    case "bytes/s":
      return `${scaled(value, IEC, 1024)}/s`;
    case "count/s":
      return `${scaled(value, SI, 1000)}/s`;
    case "bytes":
      return scaled(value, IEC, 1024);
    case "count":
      return scaled(value, SI, 1000);
    case "time":
      return formatDuration(value);
    case "time/s":
      return `${formatDuration(value * 1e9)}/s`;
  }
}

/** Scaled sides differ in their last digits. */
const NO_GROWTH = 1e-9;

/** A change in words that hold for every size: `+20 %`, `3.2 ×`, new, gone. */
export function growthName(change: { before: number; after: number; growth: number | null }): string {
  const { before, after, growth } = change;
  if (before === after || (growth !== null && Math.abs(growth) < NO_GROWTH)) return "±0 %";
  if (growth === null) return text.change.isNew;
  if (after === 0) return text.change.gone;
  // Of a negative value no multiple and no share is a positive one.
  if (before < 0 !== after < 0) return text.change.turned;
  if (growth >= 1) return `${threeDigits(after / before)} ×`;
  return `${growth > 0 ? "+" : ""}${formatShare(growth)}`;
}

/** The class that colours a change: more, less, or none. */
export function toneOf(change: { delta: number; growth: number | null }): "more" | "less" | "soft" {
  if (change.delta === 0 || (change.growth !== null && Math.abs(change.growth) < NO_GROWTH)) return "soft";
  return change.delta > 0 ? "more" : "less";
}
