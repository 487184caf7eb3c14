// Reads pprof: samples of locations, which are functions inlined into each other, leaf first.
// https://github.com/google/pprof/blob/main/proto/profile.proto. The string table may stand last, ids
// have gaps, numbers may be packed or not.

import { CallTree } from "./call-tree";
import { type Flame, ROOT } from "./flame";
import { Reader } from "./protobuf";

export interface PprofType {
  sampleType: string;
  sampleUnit: string;
  flame: Flame;
}

export interface Pprof {
  types: PprofType[];
  /** The type that the program calls its usual one. */
  usual: number;
  durationMs: number;
  timeMs: number;
}

/** Module and offset in it by the name of a frame that has an address alone. */
export type Modules = Map<string, string>;

/** Where functions come from. */
export interface Places {
  /** Source file by function name. */
  files: Map<string, string>;
  modules: Modules;
}

export interface Sample {
  locations: number[];
  values: number[];
}

interface Location {
  address: bigint;
  mapping: number;
  /** Inlined ones first. */
  functions: number[];
  /** The line of each; 0 where it is not known. */
  lines: number[];
}

/** A file as it is written, before it becomes trees. */
export interface Raw {
  strings: string[];
  types: { type: number; unit: number }[];
  samples: Sample[];
  locations: Map<number, Location>;
  functions: Map<number, Named>;
  mappings: Map<number, Mapping>;
  usual: number;
  timeNanos: number;
  durationNanos: number;
}

interface Named {
  name: number;
  file: number;
  /** The line where the function begins; 0 where it is not known. */
  start: number;
}

interface Mapping {
  start: bigint;
  limit: bigint;
  offset: bigint;
  file: number;
}

/** More frames than any program has; a file that says so is broken or hostile. */
const MOST_DEPTH = 4096;

export function readPprof(bytes: Uint8Array): Pprof {
  const raw = readRaw(bytes);
  if (raw.types.length === 0) throw new Error("the profile says no sample type; is this a pprof file?");
  const text = (index: number) => raw.strings[index] ?? "";
  const trees = raw.types.map(() => CallTree.ofStacks("total"));
  for (const sample of raw.samples) {
    const stack = stackOf(raw, sample);
    trees.forEach((tree, i) => {
      const value = sample.values[i] ?? 0;
      if (value === 0) return;
      let node: number = ROOT;
      for (const name of stack) node = tree.child(node, tree.intern(name));
      tree.add(node, { self: value });
    });
  }
  const types = raw.types.map(({ type, unit }, i) => ({ sampleType: text(type), sampleUnit: text(unit), flame: trees[i]!.finish() }));
  const named = raw.usual === 0 ? -1 : types.findIndex((type) => type.sampleType === text(raw.usual));
  return {
    types,
    usual: named >= 0 ? named : Math.max(0, types.findLastIndex((type) => type.flame.total[ROOT] !== 0)),
    durationMs: raw.durationNanos / 1e6,
    timeMs: raw.timeNanos / 1e6,
  };
}

/** The places alone: samples, which are most of a profile, are passed over. */
export function readPlaces(bytes: Uint8Array): Places {
  const raw = readRaw(bytes, false);
  const text = (index: number) => raw.strings[index] ?? "";
  const files = new Map<string, string>();
  for (const { name, file } of raw.functions.values()) if (text(file) !== "") files.set(text(name), text(file));
  const modules = new Map<string, string>();
  for (const location of raw.locations.values()) {
    if (location.functions.length > 0) continue;
    const module = moduleOf(raw, location);
    const known = modules.get(addressName(location));
    if (module !== "" && known !== module) modules.set(addressName(location), known ? `${known}, ${module}` : module);
  }
  return { files, modules };
}

/** What the server calls a frame without a name. */
function addressName({ address }: Location): string {
  return `0x${address.toString(16)}`;
}

/** The file that an address is in and how far behind its beginning; empty when no file is known. */
function moduleOf(raw: Raw, { address, mapping }: Location): string {
  const { start, limit, offset, file } = raw.mappings.get(mapping) ?? { start: 0n, limit: 0n, offset: 0n, file: 0 };
  const name = (raw.strings[file] ?? "").split("/").at(-1)!;
  if (name === "" || address < start || address >= limit) return name;
  return `${name}+0x${(address - start + offset).toString(16)}`;
}

/** Names from the root to the leaf. */
function stackOf(raw: Raw, sample: Sample): string[] {
  const stack: string[] = [];
  for (const id of sample.locations.slice(0, MOST_DEPTH)) {
    const location = raw.locations.get(id);
    if (!location) throw new Error(`a sample refers to location ${id}, which is missing (${raw.locations.size} locations); was the profile cut off?`);
    if (location.functions.length === 0) stack.push(addressName(location));
    for (const fn of location.functions) stack.push(raw.strings[raw.functions.get(fn)?.name ?? 0] || "?");
  }
  return stack.reverse();
}

export function readRaw(bytes: Uint8Array, withSamples = true): Raw {
  const raw: Raw = { strings: [], types: [], samples: [], locations: new Map(), functions: new Map(), mappings: new Map(), usual: 0, timeNanos: 0, durationNanos: 0 };
  const reader = new Reader(bytes);
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        raw.types.push(readType(reader.message()));
        break;
      case 2:
        if (withSamples) raw.samples.push(readSample(reader.message()));
        else reader.skip();
        break;
      case 3:
        readMapping(reader.message(), raw.mappings);
        break;
      case 4:
        readLocation(reader.message(), raw.locations);
        break;
      case 5:
        readFunction(reader.message(), raw.functions);
        break;
      case 6:
        raw.strings.push(reader.text());
        break;
      case 9:
        raw.timeNanos = reader.int();
        break;
      case 10:
        raw.durationNanos = reader.int();
        break;
      case 14:
        raw.usual = reader.int();
        break;
      default:
        reader.skip();
    }
  }
  return raw;
}

function readType(reader: Reader): { type: number; unit: number } {
  const found = { type: 0, unit: 0 };
  while (reader.next()) {
    if (reader.field === 1) found.type = reader.int();
    else if (reader.field === 2) found.unit = reader.int();
    else reader.skip();
  }
  return found;
}

function readSample(reader: Reader): Sample {
  const sample: Sample = { locations: [], values: [] };
  while (reader.next()) {
    if (reader.field === 1) reader.intsInto(sample.locations);
    else if (reader.field === 2) reader.intsInto(sample.values);
    else reader.skip();
  }
  return sample;
}

function readMapping(reader: Reader, into: Map<number, Mapping>): void {
  let id = 0;
  const mapping: Mapping = { start: 0n, limit: 0n, offset: 0n, file: 0 };
  while (reader.next()) {
    if (reader.field === 1) id = reader.unsigned();
    else if (reader.field === 2) mapping.start = reader.exact();
    else if (reader.field === 3) mapping.limit = reader.exact();
    else if (reader.field === 4) mapping.offset = reader.exact();
    else if (reader.field === 5) mapping.file = reader.int();
    else reader.skip();
  }
  into.set(id, mapping);
}

function readLocation(reader: Reader, into: Map<number, Location>): void {
  let id = 0;
  const location: Location = { address: 0n, mapping: 0, functions: [], lines: [] };
  while (reader.next()) {
    if (reader.field === 1) id = reader.unsigned();
    else if (reader.field === 2) location.mapping = reader.unsigned();
    else if (reader.field === 3) location.address = reader.exact();
    else if (reader.field === 4) {
      const line = reader.message();
      const at = { fn: 0, line: 0 };
      while (line.next()) {
        if (line.field === 1) at.fn = line.unsigned();
        else if (line.field === 2) at.line = line.int();
        else line.skip();
      }
      location.functions.push(at.fn);
      location.lines.push(at.line);
    } else reader.skip();
  }
  into.set(id, location);
}

function readFunction(reader: Reader, into: Map<number, Named>): void {
  let id = 0;
  const found = { name: 0, file: 0, start: 0 };
  let system = 0;
  while (reader.next()) {
    if (reader.field === 1) id = reader.unsigned();
    else if (reader.field === 2) found.name = reader.int();
    else if (reader.field === 3) system = reader.int();
    else if (reader.field === 4) found.file = reader.int();
    else if (reader.field === 5) found.start = reader.int();
    else reader.skip();
  }
  into.set(id, { ...found, name: found.name || system });
}
