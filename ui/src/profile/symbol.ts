// Splits a symbol into the part that tells what runs (the function) and the part that tells where
// it comes from (package, module, file), for the languages whose profiles are common.

export interface Symbol {
  /** Package, module or file; empty when the name has none. */
  origin: string;
  /** What a narrow bar shows. */
  short: string;
}

/** Whether a frame has no name: it is called after its address. */
export function isAddress(name: string): boolean {
  return /^0x[0-9a-f]+$/.test(name);
}

export function splitSymbol(name: string): Symbol {
  const split = kernel(name) ?? dotnet(name) ?? binary(name) ?? sourceFile(name) ?? script(name) ?? jit(name) ?? colons(name) ?? slashes(name) ?? dots(name);
  return split && split.short !== "" ? split : bare(name);
}

const bare = (name: string): Symbol => ({ origin: "", short: name });

const at = (name: string, cut: number, skip: number): Symbol => ({
  origin: name.slice(0, cut),
  short: name.slice(cut + skip),
});

function kernel(name: string): Symbol | null {
  return name.endsWith("_[k]") && name.length > 4 ? { origin: "kernel", short: name.slice(0, -4) } : null;
}

/** `Microsoft.AspNetCore.Routing!EndpointMiddleware.Invoke` */
function dotnet(name: string): Symbol | null {
  const match = /^([\w.]*)!(.+)$/s.exec(name);
  return match ? { origin: match[1]!, short: match[2]! } : null;
}

/** A shared object without symbols: `/usr/lib/libc.so.6` */
function binary(name: string): Symbol | null {
  const match = /^(.*)\/([^/]+\.(?:so(?:\.[\d.]+)?|dll|dylib))$/s.exec(name);
  return match ? { origin: match[1]!, short: match[2]! } : null;
}

/** Extensions that are no names of functions; those of one letter count only in paths from the root or here. */
const SOURCE = /^(?:(.*)\/)?([^/ ]+\.(?:go|rs|pyx?|rb|m?js|tsx?|java|kt|scala|cs|php|cc|cpp|cxx|hpp|swift))$/s;
const SHORT_SOURCE = /^([./].*)\/([^/ ]+\.[chmsS])$/s;

/** A source file, when functions are grouped by file: `/app/src/server.go` */
function sourceFile(name: string): Symbol | null {
  const match = SOURCE.exec(name) ?? SHORT_SOURCE.exec(name);
  return match ? { origin: match[1] ?? "", short: match[2]! } : null;
}

const SCRIPT = "(?:py|pyx|rb|php|pl|js|mjs|cjs|ts|tsx|jsx)";
/** `lib/user.py find`, `lib/user.py:12 - find` */
const FILE_FIRST = new RegExp(`^(.+?\\.${SCRIPT})(?::-?\\d+)?(?: - | )(.+)$`, "s");
/** `./dist/server.js:handle:12` */
const FILE_COLON = new RegExp(`^(.+?\\.${SCRIPT}):(.*[^\\d:].*|)(:-?\\d+)*$`, "s");
/** `handle (/app/server.js:12:3)` */
const FILE_LAST = new RegExp(`^(.+) \\(([^()]+?\\.${SCRIPT})(:-?\\d+)*\\)$`, "s");

function script(name: string): Symbol | null {
  const last = FILE_LAST.exec(name);
  if (last) return { origin: last[2]!, short: last[1]! };
  const first = FILE_FIRST.exec(name);
  if (first) return { origin: first[1]!, short: first[2]! };
  const colon = FILE_COLON.exec(name);
  return colon?.[2] ? { origin: colon[1]!, short: colon[2] } : null;
}

/** `LazyCompile:*fib /app/main.js:1` (V8), `node:internal/fs:readFile:3` */
function jit(name: string): Symbol | null {
  const v8 = /^[A-Z][A-Za-z]+:[*~^+]?(\S+) (\S+?)(?::\d+)*$/.exec(name);
  if (v8) return { origin: v8[2]!, short: v8[1]! };
  const node = /^(node:[^:]+):([^:]+)(?::-?\d+)*$/.exec(name);
  return node ? { origin: node[1]!, short: node[2]! } : null;
}

/** Positions in `name` outside of brackets where `mark` stands. */
function outside(name: string, mark: string): number[] {
  const found: number[] = [];
  let depth = 0;
  for (let i = 0; i < name.length; i++) {
    const c = name[i]!;
    if (c === "<" || c === "(" || c === "[" || c === "{") depth++;
    else if ((c === ">" && name[i - 1] !== "-") || c === ")" || c === "]" || c === "}") {
      depth = Math.max(0, depth - 1);
    } else if (depth === 0 && name.startsWith(mark, i)) {
      found.push(i);
      i += mark.length - 1;
    }
  }
  return found;
}

/** Rust and C++: `tokio::runtime::task::raw::poll`, `<a::B as c::D>::run`, `std::vector<int>::push_back(int&&)` */
function colons(name: string): Symbol | null {
  if (!name.includes("::")) return null;
  const clean = name.replace(/::h[0-9a-f]{16}$/, "");
  const cuts = outside(clean, "::");
  if (cuts.length === 0) return null;
  let cut = cuts[cuts.length - 1]!;
  // A type stays with its method, and a closure with the function that holds it.
  for (let i = cuts.length - 1; i >= 0; i--) {
    cut = cuts[i]!;
    const owner = clean.slice(i === 0 ? 0 : cuts[i - 1]! + 2, cut);
    const member = clean.slice(cut + 2);
    const keep = /^[A-Z]/.test(owner) || owner.startsWith("<") || member.startsWith("{{closure}}");
    if (!keep) break;
    if (i === 0) return implementation(clean);
  }
  return at(clean, cut, 2);
}

/** `<a::b::C<T> as d::E>::f` runs `C<T>::f` of `a::b`. */
function implementation(name: string): Symbol {
  const match = /^<&?(?:mut |dyn )?((?:\w+::)*)(.+) as .+>::([^>]+)$/s.exec(name);
  if (!match) return bare(name);
  return { origin: match[1]!.slice(0, -2), short: `${match[2]}::${match[3]}` };
}

/** Go: `net/http.(*conn).serve`; Java: `java/util/HashMap.put` */
function slashes(name: string): Symbol | null {
  const head = /^[^(\[<{ ]*/.exec(name)![0];
  const slash = head.lastIndexOf("/");
  if (slash < 0) return null;
  const rest = head.slice(slash + 1);
  if (/^[A-Z]/.test(rest)) return at(name, slash, 1);
  const dot = rest.indexOf(".");
  if (dot < 0) return at(name, slash, 1);
  return at(name, slash + 1 + dot, 1);
}

/** Java: `java.util.HashMap.put`; Go: `runtime.mallocgc`, `main.(*Server).Run` */
function dots(name: string): Symbol | null {
  const head = /^[^(\[<{ ]*/.exec(name)![0];
  const type = /(?:^|\.)(?=[A-Z])/.exec(head);
  if (type && type.index > 0 && head.slice(0, type.index).split(".").length > 1) return at(name, type.index, 1);
  const dot = head.indexOf(".");
  if (dot <= 0 || dot === name.length - 1) return null;
  return at(name, dot, 1);
}

/** The part of the origin that names a whole library, for one colour a library. */
export function library(origin: string): string {
  if (origin === "") return "";
  const parts = origin.split(/\/|::|\./).filter((part) => part !== "");
  const first = parts[0] ?? origin;
  const hosted = /^[a-z0-9-]+\.[a-z]{2,}\//.test(origin);
  if (hosted) return origin.split("/").slice(0, 3).join("/");
  const organisation = /^(?:com|org|io|dev|me|java|javax|jdk|sun|kotlin|scala)$/.test(first);
  return organisation && parts.length > 1 ? `${first}.${parts[1]}` : first;
}
