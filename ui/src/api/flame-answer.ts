// Reads `SelectMergeStacktracesResponse` in protobuf: names, and levels of fours.

import { decodeFlame, type Flame } from "../profile/flame";
import { Reader } from "../profile/protobuf";

const FLAMEGRAPH = 1;
const NAMES = 1;
const LEVELS = 2;
const LEVEL_VALUES = 1;

export function readFlameAnswer(bytes: Uint8Array, maxNodes: number): Flame {
  const names: string[] = [];
  const levels: { values: number[] }[] = [];
  const answer = new Reader(bytes);
  while (answer.next()) {
    if (answer.field !== FLAMEGRAPH) {
      answer.skip();
      continue;
    }
    const graph = answer.message();
    while (graph.next()) {
      if (graph.field === NAMES) names.push(graph.text());
      else if (graph.field === LEVELS) levels.push({ values: readLevel(graph.message()) });
      else graph.skip();
    }
  }
  return decodeFlame(names.length === 0 ? {} : { names, levels }, maxNodes);
}

function readLevel(level: Reader): number[] {
  const values: number[] = [];
  while (level.next()) {
    if (level.field === LEVEL_VALUES) level.intsInto(values);
    else level.skip();
  }
  return values;
}
