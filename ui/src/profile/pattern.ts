// Regular expressions whose search takes time in proportion to the text, whatever the pattern. The browser's own tries
// the ways through a pattern one after the other: `(a+)+$` would stop the page for ever on a name that it does not fit.
// This one goes all ways at once (Thompson, 1968). What one character fits is still the browser's to say.

/** A pattern that needs more than going through the text once: what was matched before, or what lies around. */
export class NotLinear extends Error {}

/** More steps than these would be slow on every name. */
const MOST_STEPS = 500;

type Step =
  | { kind: "character"; fits: (character: number) => boolean }
  | { kind: "place"; holds: (before: number, after: number) => boolean }
  /** Goes on at both. */
  | { kind: "either"; one: number; other: number }
  | { kind: "jump"; to: number };

/** Before the first character and behind the last; all others are code points. */
const NONE = -1;
const WORD = 97;
const NO_WORD = 32;

type Place = Extract<Step, { kind: "place" }>["holds"];

const isWord = (character: number) => character !== NONE && /^\w$/u.test(String.fromCodePoint(character));
const atEdge: Place = (before, after) => isWord(before) !== isWord(after);
const PLACES: Record<string, Place> = {
  "^": (before) => before === NONE,
  $: (_, after) => after === NONE,
  "\\b": atEdge,
  "\\B": (before, after) => !atEdge(before, after),
};

/**
 * Tells whether a text holds what `pattern` describes, as `new RegExp(pattern, flags).test` does. Throws SyntaxError
 * where that does, and NotLinear for what cannot be searched so. `flags` are `u` and perhaps `i`.
 */
export function linearTest(pattern: string, flags: string): (text: string) => boolean {
  const whole = new RegExp(pattern, flags);
  // Without anything that repeats, there are few ways.
  if (!/[*+?{]/.test(pattern)) return (text) => whole.test(text);
  const search = new Search(new Parser(pattern, flags).parse());
  return (text) => search.test(text);
}

/** Takes a pattern that the browser can read apart into steps. */
class Parser {
  private at = 0;
  private readonly steps: Step[] = [];
  private readonly pattern: string;
  private readonly flags: string;

  constructor(pattern: string, flags: string) {
    this.pattern = pattern;
    this.flags = flags;
  }

  parse(): Step[] {
    this.alternatives();
    return this.steps;
  }

  private alternatives(): void {
    const begin = this.steps.length;
    this.sequence();
    if (!this.takes("|")) return;
    this.insert(begin, { kind: "either", one: begin + 1, other: this.steps.length + 2 });
    const jump = this.push({ kind: "jump", to: 0 });
    this.alternatives();
    this.steps[jump] = { kind: "jump", to: this.steps.length };
  }

  private sequence(): void {
    while (this.at < this.pattern.length && this.pattern[this.at] !== "|" && this.pattern[this.at] !== ")") this.repeated();
  }

  private repeated(): void {
    const begin = this.steps.length;
    this.atom();
    const [written, least, comma, most] = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})/.exec(this.pattern.slice(this.at)) ?? [];
    if (written === undefined) return;
    this.at += written.length;
    // Whether as many as possible or as few: there is a match or there is none.
    this.takes("?");
    if (written === "*") this.repeat(begin, 0, Infinity);
    else if (written === "+") this.repeat(begin, 1, Infinity);
    else if (written === "?") this.repeat(begin, 0, 1);
    else this.repeat(begin, Number(least), comma === "" ? Number(least) : most === "" ? Infinity : Number(most));
  }

  /** Repeats the steps from `begin` on. */
  private repeat(begin: number, least: number, most: number): void {
    const once = this.steps.splice(begin);
    if (once.length * Math.max(least, most === Infinity ? 1 : most) > MOST_STEPS) throw new NotLinear("it repeats too much");
    const copy = () => {
      const offset = this.steps.length - begin;
      for (const step of once) {
        if (step.kind === "either") this.push({ kind: "either", one: step.one + offset, other: step.other + offset });
        else this.push(step.kind === "jump" ? { kind: "jump", to: step.to + offset } : step);
      }
    };
    for (let i = 0; i < least; i++) copy();
    if (most === Infinity) {
      const loop = this.push({ kind: "jump", to: 0 });
      copy();
      this.push({ kind: "jump", to: loop });
      this.steps[loop] = { kind: "either", one: loop + 1, other: this.steps.length };
      return;
    }
    const skips: number[] = [];
    for (let i = least; i < most; i++) {
      skips.push(this.push({ kind: "jump", to: 0 }));
      copy();
    }
    for (const skip of skips) this.steps[skip] = { kind: "either", one: skip + 1, other: this.steps.length };
  }

  private atom(): void {
    const rest = this.pattern.slice(this.at);
    const group = /^\((?:\?:|\?<[^=!][^>]*>|(?!\?))/u.exec(rest);
    if (group) {
      this.at += group[0].length;
      this.alternatives();
      this.takes(")");
      return;
    }
    if (/^\(\?/.test(rest)) throw new NotLinear("it looks ahead or behind");
    if (/^\\(?:[1-9]|k)/.test(rest)) throw new NotLinear("it asks for what was matched before");
    const place = /^(?:[$^]|\\[bB])/.exec(rest)?.[0];
    const [written] = place !== undefined ? [place] : (/^(?:\[(?:\\.|[^\]\\])*\]|\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[dD][89abAB]..\\u[dD][c-fC-F]..|u....|x..|c.|.)|.)/su.exec(rest) ?? [rest]);
    this.at += written!.length;
    if (place !== undefined) this.push({ kind: "place", holds: PLACES[place]! });
    else this.push({ kind: "character", fits: this.fitting(written!) });
  }

  /** Whether a character fits a part of the pattern that stands for one; asked for each character once. */
  private fitting(part: string): (character: number) => boolean {
    const one = new RegExp(`^(?:${part})$`, this.flags);
    const ask = (character: number) => one.test(String.fromCodePoint(character));
    const known = new Map<number, boolean>();
    return (character) => {
      let fits = known.get(character);
      if (fits === undefined) known.set(character, (fits = ask(character)));
      return fits;
    };
  }

  private takes(character: string): boolean {
    if (this.pattern[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private push(step: Step): number {
    if (this.steps.length >= MOST_STEPS) throw new NotLinear("it is too long");
    return this.steps.push(step) - 1;
  }

  /** Those behind it lead one further. */
  private insert(index: number, step: Step): void {
    for (let i = index; i < this.steps.length; i++) {
      const each = this.steps[i]!;
      if (each.kind === "either") this.steps[i] = { kind: "either", one: each.one + 1, other: each.other + 1 };
      else if (each.kind === "jump") this.steps[i] = { kind: "jump", to: each.to + 1 };
    }
    this.steps.splice(index, 0, step);
  }
}

/** Where all ways through a pattern have got to. */
interface State {
  /** Steps that are next. */
  steps: number[];
  /** What stands for the character before: a word's, another, or none. */
  before: number;
  /** By the next character, or by END: true where the text fits. */
  to: (State | boolean | undefined)[];
}

const END = 128;
/** More are forgotten and made again. */
const MOST_STATES = 1000;

/** Goes through texts and remembers how: what came once is a look into a table the next time. */
class Search {
  private readonly steps: Step[];
  private readonly states = new Map<string, State>();

  constructor(steps: Step[]) {
    this.steps = steps;
  }

  test(text: string): boolean {
    let state = this.stateOf([], NONE);
    for (let i = 0; i < text.length; ) {
      const character = text.codePointAt(i)!;
      const known = character < END ? state.to[character] : undefined;
      const to = known ?? this.go(state, character);
      if (to === true || to === false) return to;
      state = to;
      i += character > 0xffff ? 2 : 1;
    }
    return (state.to[END] ?? this.go(state, NONE)) === true;
  }

  private go(state: State, character: number): State | boolean {
    const next: number[] = [];
    // A match may begin anywhere. The list grows while it is gone through.
    const open = [0, ...state.steps];
    const seen = new Uint8Array(this.steps.length);
    let to: State | boolean | undefined;
    for (const at of open) {
      const step = this.steps[at];
      if (!step) to = true;
      if (!step || seen[at]) continue;
      seen[at] = 1;
      if (step.kind === "jump") open.push(step.to);
      else if (step.kind === "either") open.push(step.one, step.other);
      else if (step.kind === "place") {
        if (step.holds(state.before, character)) open.push(at + 1);
      } else if (character !== NONE && step.fits(character)) next.push(at + 1);
    }
    to ??= character === NONE ? false : this.stateOf(next, isWord(character) ? WORD : NO_WORD);
    if (character < END) state.to[character === NONE ? END : character] = to;
    return to;
  }

  private stateOf(steps: number[], before: number): State {
    const key = `${before} ${steps.sort((a, b) => a - b).join()}`;
    let state = this.states.get(key);
    if (!state) {
      if (this.states.size >= MOST_STATES) this.states.clear();
      this.states.set(key, (state = { steps, before, to: [] }));
    }
    return state;
  }
}
