// Folded stacks, `main;work;parse 12`: one stack a line, root first, a value at the end.

import { CallTree } from "./call-tree";
import { childrenOf, type Flame, nameOf, ROOT } from "./flame";

export function readFolded(text: string): Flame {
  const tree = CallTree.ofStacks("total");
  let start = 0;
  let number = 0;
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    const line = text.slice(start, end < 0 ? text.length : end).trim();
    start = end < 0 ? text.length : end + 1;
    number++;
    if (line === "" || line.startsWith("#")) continue;
    const cut = line.lastIndexOf(" ");
    const value = Number(line.slice(cut + 1));
    if (cut < 0 || !Number.isFinite(value)) throw new Error(`line ${number} does not end with a number: ${line.slice(0, 80)}`);
    let node: number = ROOT;
    for (const frame of line.slice(0, cut).split(";")) node = tree.child(node, tree.intern(frame));
    tree.add(node, { self: value });
  }
  return tree.finish();
}

/** Line ends and semicolons within names would be read as structure. */
const plain = (name: string) => name.replace(/[\r\n]+/g, " ").replaceAll(";", ":");

export function writeFolded(flame: Flame): string {
  const lines: string[] = [];
  const walk: { node: number; path: string }[] = [{ node: ROOT, path: "" }];
  while (walk.length > 0) {
    const { node, path } = walk.pop()!;
    if (node !== ROOT && flame.self[node] !== 0) lines.push(`${path} ${flame.self[node]}`);
    for (const child of childrenOf(flame, node).reverse()) {
      const name = plain(nameOf(flame, child));
      walk.push({ node: child, path: path === "" ? name : `${path};${name}` });
    }
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
