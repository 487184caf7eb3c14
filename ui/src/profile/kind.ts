// What runs a function: the kernel, compiled code, or which virtual machine or interpreter. Profiles seldom
// say it, so it is told by the file, where that is known, and by how the name is written.

import { splitSymbol } from "./symbol";

export const KINDS = ["kernel", "native", "Go", "JVM", ".NET", "Python", "Ruby", "JavaScript", "PHP", "other"] as const;
export type Kind = (typeof KINDS)[number];

const EXTENSIONS: Record<string, Kind> = {
  ...of("native", "c cc cpp cxx h hh hpp rs s asm zig swift m mm f90 d nim"),
  ...of("Go", "go"),
  ...of("JVM", "java kt kts scala groovy clj"),
  ...of(".NET", "cs fs vb"),
  ...of("Python", "py pyx pyi"),
  ...of("Ruby", "rb"),
  ...of("JavaScript", "js mjs cjs jsx ts mts tsx"),
  ...of("PHP", "php phtml"),
};

function of(kind: Kind, extensions: string): Record<string, Kind> {
  return Object.fromEntries(extensions.split(" ").map((extension) => [extension, kind]));
}

const KERNEL = /_\[k\]$|^\[kernel|^vmlinux\b|^\/(?:usr\/src|lib\/modules)\/linux/;
const NATIVE = /::|^0x[0-9a-f]+$|\.(?:so(?:\.[\d.]+)?|dll|dylib)(?:$|[+!:])|^_?_(?:libc|start|clone|pthread)/;
/** `net/http.(*conn).serve`, `main.main`, `gopkg.in/yaml.v3.(*parser).node`, `runtime.goexit.abi0` */
const GO = /^(?:[\w.~%-]+\/)*[a-z_][\w~%-]*(?:\.v\d+)?\.(?:\(\*?\w+(?:\[.*\])?\)\.)?[\w[\].·-]+$/s;
/** `java/util/HashMap.put`, `com.acme.Worker$1.run(Object)`; `net/http.HandlerFunc.ServeHTTP` and `main.Server.Run` are Go's. */
const JVM = /^(?:(?:[a-z_][\w$]*\/)+|(?:[a-z_][\w$]*\.){2,})[A-Z][\w$]*(?:[.:#](?:[\w$]+|<\w+>))?(?:\(.*)?$/s;
const SCRIPT = /\.([a-z]+)(?::-?\d+)*(?: |:|\)|$)/;

export function kindOf(name: string, file = ""): Kind {
  if (KERNEL.test(name) || KERNEL.test(file)) return "kernel";
  const go = GO.test(name) && !JVM.test(name);
  const byFile = EXTENSIONS[/\.(\w+)$/.exec(file)?.[1]?.toLowerCase() ?? ""];
  // Go has assembly, and calls C through files of its own.
  if (byFile) return byFile === "native" && go && file.toLowerCase().endsWith(".s") ? "Go" : byFile;
  if (/^[\w.]*![^!]+$/s.test(name)) return ".NET";
  if (NATIVE.test(name)) return "native";
  if (name.startsWith("node:")) return "JavaScript";
  if (JVM.test(name)) return "JVM";
  const { origin } = splitSymbol(name);
  const script = EXTENSIONS[SCRIPT.exec(origin)?.[1] ?? ""];
  if (script) return script;
  return go ? "Go" : "other";
}
