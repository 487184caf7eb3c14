// Reads a profile file of a form that is not said: by its first bytes, never by its name. Everything is
// bounded, because a file can come from anywhere.

import { CallTree } from "./call-tree";
import { decodeFlame, type Flame, nodeCount, ROOT } from "./flame";
import { readFolded } from "./folded";
import { readPprof } from "./pprof";
import { unitOf } from "./units";

export interface AdHocType {
  name: string;
  unit: string;
  flame: Flame;
}

export interface AdHoc {
  fileName: string;
  format: "pprof" | "folded" | "speedscope" | "flamebearer" | "tree" | "server";
  /** What the server keeps it under, when it was the server that read it. */
  id?: string;
  /** Unpacked. */
  bytes: Uint8Array<ArrayBuffer>;
  types: AdHocType[];
  usual: number;
  durationMs: number;
}

/** How a recording of Java Flight Recorder begins. */
const JFR = "FLR\0";

/** A form that is not read here; the server reads more. */
export class NotKnown extends Error {}

/** Unpacked; a profile of a million samples takes some tens. */
const MOST_BYTES = 512 * 2 ** 20;

export async function readAny(fileName: string, packed: Uint8Array<ArrayBuffer>): Promise<AdHoc> {
  const bytes = packed[0] === 0x1f && packed[1] === 0x8b ? await gunzip(packed) : packed;
  const known = { fileName, bytes };
  const first = bytes.find((byte) => byte > 0x20);
  if (first === 0x7b) return { ...known, ...readJson(JSON.parse(decode(bytes))) };
  if (decode(bytes.subarray(0, JFR.length)) === JFR) throw new NotKnown("this is a recording of Java Flight Recorder");
  if (bytes[0] === 0) return { ...known, format: "tree", types: [{ name: "samples", unit: "count", flame: readTree(bytes) }], usual: 0, durationMs: 0 };
  if (looksLikeText(bytes)) {
    const flame = unlessUnknown(() => readFolded(decode(bytes)));
    if (nodeCount(flame) <= 1) throw new Error("the file holds no stacks");
    return { ...known, format: "folded", types: [{ name: "samples", unit: "count", flame }], usual: 0, durationMs: 0 };
  }
  const profile = unlessUnknown(() => readPprof(bytes));
  if (profile.types.length === 0) throw new NotKnown("this is no pprof file");
  const types = profile.types.map(({ sampleType, sampleUnit, flame }) => ({ name: sampleType, unit: sampleUnit, flame }));
  return { ...known, format: "pprof", types, usual: profile.usual, durationMs: profile.durationMs };
}

/** What is no such file may be one of another form: text of `perf script`, a protobuf message of OpenTelemetry. */
function unlessUnknown<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new NotKnown(error instanceof Error ? error.message : String(error));
  }
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function gunzip(packed: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > MOST_BYTES) {
      await reader.cancel();
      throw new Error(`the file unpacks to more than ${MOST_BYTES / 2 ** 20} MiB`);
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Folded stacks have no control characters near their start; protobuf has. */
function looksLikeText(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.subarray(0, 512).every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

function readJson(json: unknown): Omit<AdHoc, "fileName" | "bytes"> {
  if (isObject(json) && isObject(json.shared) && Array.isArray(json.profiles)) return readSpeedscope(json);
  if (isObject(json) && isObject(json.flamebearer)) return readFlamebearer(json);
  throw new NotKnown("this JSON is neither a speedscope nor a Flamebearer file");
}

export function readFlamebearerText(json: string): AdHocType {
  return readFlamebearer(JSON.parse(json)).types[0]!;
}

/**
 * The binary call tree of Pyroscope's ingestion: length of the name, name, own value, number of children, then the
 * children; depth first, numbers as varints. The root has no name.
 */
function readTree(bytes: Uint8Array): Flame {
  const tree = CallTree.ofStacks("total");
  const decoder = new TextDecoder();
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || factor > 2 ** 63) throw new Error("this is no call tree, or it was cut off");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  /** Nodes whose children are still to come. */
  const open: { node: number; left: number }[] = [];
  do {
    const length = number();
    const name = decoder.decode(bytes.subarray(at, (at += length)));
    const parent = open.at(-1);
    if (parent) parent.left--;
    const node = parent ? tree.child(parent.node, tree.intern(name)) : ROOT;
    const self = number();
    if (node !== ROOT && self !== 0) tree.add(node, { self });
    open.push({ node, left: number() });
    while (open.length > 0 && open.at(-1)!.left === 0) open.pop();
  } while (open.length > 0);
  if (at !== bytes.length) throw new Error("this is no call tree: something follows it");
  return tree.finish();
}

/** https://www.speedscope.app/file-format-schema.json; profiles of one unit are added up. */
function readSpeedscope(json: Json): Omit<AdHoc, "fileName" | "bytes"> {
  const names = list((json.shared as Json).frames).map((frame) => (isObject(frame) ? String(frame.name ?? "?") : "?"));
  const byUnit = new Map<string, CallTree>();
  for (const profile of list(json.profiles)) {
    if (!isObject(profile)) continue;
    const unit = String(profile.unit ?? "none");
    if (!byUnit.has(unit)) byUnit.set(unit, CallTree.ofStacks("total"));
    const tree = byUnit.get(unit)!;
    if (profile.type === "evented") addEvents(tree, names, list(profile.events));
    else addSamples(tree, names, list(profile.samples), list(profile.weights));
  }
  const types = [...byUnit].map(([unit, tree]) => ({ name: unit === "none" ? "samples" : unit, unit: unit === "none" ? "count" : unit, flame: tree.finish() }));
  if (types.length === 0) throw new Error("the speedscope file holds no profile");
  return { format: "speedscope", types, usual: 0, durationMs: 0 };
}

function addSamples(tree: CallTree, names: string[], samples: unknown[], weights: unknown[]): void {
  samples.forEach((stack, i) => {
    let node: number = ROOT;
    for (const frame of list(stack)) node = tree.child(node, tree.intern(names[Number(frame)] ?? "?"));
    const weight = weights.length === 0 ? 1 : Number(weights[i] ?? 0);
    if (node !== ROOT && Number.isFinite(weight)) tree.add(node, { self: weight });
  });
}

/** Openings and closings of frames; what passes in between belongs to the innermost open one. */
function addEvents(tree: CallTree, names: string[], events: unknown[]): void {
  const open: number[] = [ROOT];
  let before = 0;
  for (const event of events) {
    if (!isObject(event)) continue;
    const at = Number(event.at ?? before);
    const node = open[open.length - 1]!;
    if (node !== ROOT && at > before) tree.add(node, { self: at - before });
    before = at;
    if (event.type === "O") open.push(tree.child(node, tree.intern(names[Number(event.frame)] ?? "?")));
    else if (open.length > 1) open.pop();
  }
}

function readFlamebearer(json: Json): Omit<AdHoc, "fileName" | "bytes"> {
  const { names, levels } = json.flamebearer as Json;
  const metadata = isObject(json.metadata) ? json.metadata : {};
  if (metadata.format === "double") throw new Error("this file is a comparison of two profiles; drop the two profiles instead");
  const flame = decodeFlame({ names: list(names).map(String), levels: list(levels).map((values) => ({ values: list(values).map(Number) })) }, Number.POSITIVE_INFINITY);
  const said = String(metadata.units ?? "");
  const isTime = said === "lock_nanoseconds" || (said === "samples" && metadata.sampleRate === 1e9);
  const unit = isTime ? "nanoseconds" : shownUnit(said);
  return { format: "flamebearer", types: [{ name: String(metadata.name ?? unit), unit, flame }], usual: 0, durationMs: 0 };
}

/** What values are counted in, for showing: unknown units are counts. */
export function shownUnit(unit: string): string {
  return unitOf(unit).unit === "count" ? "count" : unit;
}
