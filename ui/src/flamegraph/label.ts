// Cuts a function's name to the width of its bar from the package side, so that what remains in a
// narrow bar is the function's own name.

import { type Flame, nameOf, ROOT } from "../profile/flame";
import { splitSymbol } from "../profile/symbol";
import { text } from "../text";

const ELLIPSIS = "…";
/** Fewer letters than these tell nothing. */
const LEAST = 2;
/** Longer names never fit on a screen. */
const LONGEST = 512;

export type Measure = (text: string) => number;

/** What to write into `width` pixels, or "" when nothing readable fits. */
export function fitLabel(name: string, short: string, width: number, measure: Measure): string {
  const clean = visible(name);
  if (measure(clean) <= width) return clean;
  const own = visible(short);
  const ownWidth = measure(own);
  if (ownWidth > width) return cutEnd(own, width, measure);
  if (!clean.endsWith(own)) return own;
  return cutOrigin(clean, own, width, measure) ?? own;
}

/** Whole path segments before the function's own name, as many as fit. */
function cutOrigin(name: string, own: string, width: number, measure: Measure): string | null {
  const originEnd = name.length - own.length;
  let best: string | null = null;
  for (let i = originEnd - 1; i > 0; i--) {
    const c = name[i - 1];
    const boundary = c === "/" || c === "." || c === ":" || c === " ";
    if (!boundary || name[i] === ":" || i >= originEnd) continue;
    const candidate = ELLIPSIS + name.slice(i);
    if (measure(candidate) > width) break;
    best = candidate;
  }
  return best;
}

function cutEnd(own: string, width: number, measure: Measure): string {
  let low = 0;
  let high = own.length;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (measure(own.slice(0, middle) + ELLIPSIS) <= width) low = middle;
    else high = middle - 1;
  }
  return low < LEAST ? "" : own.slice(0, low) + ELLIPSIS;
}

/** Control characters and direction marks are shown as what they are instead of taking effect. */
export function visible(name: string): string {
  const short = name.length > LONGEST ? name.slice(0, LONGEST) + ELLIPSIS : name;
  return short.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** So many cut names are kept; more than any screen shows. */
const MOST_KEPT = 50_000;

/** Cuts names and remembers how: while a graph moves, the same names are cut over and over. */
export class LabelFitter {
  private readonly names: string[];
  private readonly measure: Measure;
  /** The width of a letter: cuts change at whole letters. */
  private readonly letter: number;
  private readonly cut = new Map<number, string>();

  constructor(names: string[], measure: Measure) {
    this.names = names;
    this.measure = measure;
    this.letter = Math.max(1, measure("0"));
  }

  /** What of a name fits into `width` pixels. */
  name(index: number, width: number): string {
    const letters = Math.floor(width / this.letter);
    const key = index * 4096 + Math.min(letters, 4095);
    let shown = this.cut.get(key);
    if (shown === undefined) {
      const name = this.names[index] ?? "?";
      shown = fitLabel(name, splitSymbol(name).short, letters * this.letter, this.measure);
      if (this.cut.size >= MOST_KEPT) this.cut.clear();
      this.cut.set(key, shown);
    }
    return shown;
  }

  text(label: string, width: number): string {
    return fitLabel(label, label, width, this.measure);
  }
}

/** Advance widths in a monospaced font: plain letters are counted, all else is measured once. */
export function monospaceMeasure(context: CanvasRenderingContext2D): Measure {
  const advance = context.measureText("0").width;
  const measured = new Map<string, number>();
  return (text) => {
    if (/^[\x20-\x7e]*$/.test(text)) return text.length * advance;
    let width = measured.get(text);
    if (width === undefined) {
      width = context.measureText(text).width;
      if (measured.size > 20_000) measured.clear();
      measured.set(text, width);
    }
    return width;
  };
}

const ROOT_NAME = "total";

/** Whether the root stands for everything; in a sandwich it is a function. */
export function isWhole(flame: Flame): boolean {
  return nameOf(flame, ROOT) === ROOT_NAME;
}

/** What a node is called on the screen. */
export function frameName(flame: Flame, node: number): string {
  if (flame.folded[node]) return text.flame.folded;
  return node === ROOT && isWhole(flame) ? text.flame.root : visible(nameOf(flame, node));
}
