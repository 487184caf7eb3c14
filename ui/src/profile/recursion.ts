// A function that calls itself is in a stack several times, but its total counts once.

import { type Flame, nodeCount, ROOT } from "./flame";

/** 1 for nodes below another of the same name, whose total is counted there. */
export function nestedNodes(flame: Flame): Uint8Array {
  const nested = new Uint8Array(nodeCount(flame));
  const onPath = new Uint32Array(flame.names.length);
  const stack: number[] = [];
  const push = (node: number) => {
    const first = flame.firstChild[node]!;
    for (let child = first; child < first + flame.childCount[node]!; child++) stack.push(child);
  };
  push(ROOT);
  // `~node` marks the way back up.
  while (stack.length > 0) {
    const entry = stack.pop()!;
    if (entry < 0) {
      onPath[flame.name[~entry]!]!--;
      continue;
    }
    if (onPath[flame.name[entry]!]!++ > 0) nested[entry] = 1;
    stack.push(~entry);
    push(entry);
  }
  return nested;
}
