// Reads the flame graph of `/api/v1/flamegraph`: columns over all nodes, a level after the other. Where
// children are follows from how many each node has, so nothing depends on sums, which stop at 2^63 - 1.

import { type Flame, layOut } from "../profile/flame";
import { Reader } from "../profile/protobuf";

const NAMES = 1;
const NAME = 2;
const CHILDREN = 3;
const SELF = 4;
const TOTAL = 5;
const FOLDED = 6;

export function readFlameColumns(bytes: Uint8Array): Flame {
  const names: string[] = [];
  const columns = new Map<number, number[]>([NAME, CHILDREN, SELF, TOTAL, FOLDED].map((field) => [field, []]));
  const answer = new Reader(bytes);
  while (answer.next()) {
    const column = columns.get(answer.field);
    if (answer.field === NAMES) names.push(answer.text());
    else if (column) answer.intsInto(column);
    else answer.skip();
  }
  const [name, children, self, total, folded] = [NAME, CHILDREN, SELF, TOTAL, FOLDED].map((field) => columns.get(field)!) as [number[], number[], number[], number[], number[]];
  const nodes = name.length;
  const links = children.reduce((sum, count) => sum + count, 0);
  const whole = [children, self, total].every(({ length }) => length === nodes);
  if (nodes === 0 || !whole || links !== nodes - 1 || name.some((index) => index >= names.length)) {
    throw new Error("the flame graph that the server answered does not fit together; is a proxy between?");
  }
  return link(names, { name, children, self, total, folded });
}

interface Columns {
  name: number[];
  children: number[];
  self: number[];
  total: number[];
  folded: number[];
}

function link(names: string[], { name, children, self, total, folded }: Columns): Flame {
  const nodes = name.length;
  const flame: Flame = {
    names,
    levelStart: new Uint32Array(0),
    name: Uint32Array.from(name),
    total: Float64Array.from(total),
    self: Float64Array.from(self),
    parent: new Int32Array(nodes).fill(-1),
    firstChild: new Uint32Array(nodes),
    childCount: Uint32Array.from(children),
    depth: new Uint32Array(nodes),
    x: new Float64Array(nodes),
    width: new Float64Array(nodes),
    folded: new Uint8Array(nodes),
  };
  const levelStart = [0];
  let next = 1;
  for (let node = 0; node < nodes; node++) {
    if (node >= next) throw new Error("the flame graph that the server answered has nodes without a caller; is a proxy between?");
    const end = next + children[node]!;
    if (end > next) flame.firstChild[node] = next;
    for (; next < end; next++) {
      flame.parent[next] = node;
      flame.depth[next] = flame.depth[node]! + 1;
    }
  }
  for (let node = 1; node < nodes; node++) if (flame.depth[node] !== flame.depth[node - 1]) levelStart.push(node);
  flame.levelStart = Uint32Array.from([...levelStart, nodes]);
  for (const node of folded) if (node < nodes) flame.folded[node] = 1;
  layOut(flame);
  return flame;
}
