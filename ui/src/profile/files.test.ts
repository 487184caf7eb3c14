// Files in and out: pprof, speedscope, Flamebearer, folded, SVG, CSV. Names are hostile throughout.

import { describe, expect, test } from "vitest";
import { readAny } from "./adhoc";
import { escapeXml, fileName, writeCsv, writeSpeedscope, writeSvg } from "./exports";
import { meansOf, partsOf, weightOf } from "./history";
import { readFolded, writeFolded } from "./folded";
import { readPlaces, readPprof } from "./pprof";
import { Writer } from "./protobuf";
import { splitOf, unevenness } from "./split";
import { hotPath, treeRows } from "./tree-rows";

const bytes = (text: string) => new TextEncoder().encode(text);
const MARKUP = "<img src=x onerror=alert(1)>";

/** main → work (inlined into it: leaf), twice; the string table stands last, ids have gaps. */
function pprof(): Uint8Array<ArrayBuffer> {
  const strings = ["", "samples", "count", "cpu", "nanoseconds", "main", "work", MARKUP, "a.go"];
  const type = (a: number, b: number) => new Writer().int(1, a).int(2, b).bytes();
  const line = (fn: number) => new Writer().int(1, fn).bytes();
  const fn = (id: number, name: number) => new Writer().int(1, id).int(2, name).int(4, 8).bytes();
  const out = new Writer()
    .message(1, type(1, 2))
    .message(1, type(3, 4))
    .message(2, new Writer().ints(1, [70, 9]).ints(2, [2, 20]).bytes())
    .message(2, new Writer().int(1, 9).int(2, 1).int(2, 10).bytes())
    .message(4, new Writer().int(1, 9).int(3, 4096).message(4, line(40)).bytes())
    .message(4, new Writer().int(1, 70).message(4, line(42)).message(4, line(41)).bytes())
    .message(5, fn(40, 5))
    .message(5, fn(41, 6))
    .message(5, fn(42, 7));
  for (const text of strings) out.text(6, text);
  return out.int(10, 5_000_000_000).bytes();
}

async function gzip(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
}

describe("pprof", () => {
  test("inlined calls are frames of their own, values go by type", () => {
    const { types, usual, durationMs } = readPprof(pprof());
    const { files } = readPlaces(pprof());
    expect(types.map((type) => [type.sampleType, type.sampleUnit, writeFolded(type.flame)])).toEqual([
      ["samples", "count", `main 1\nmain;work;${MARKUP} 2\n`],
      ["cpu", "nanoseconds", `main 10\nmain;work;${MARKUP} 20\n`],
    ]);
    expect([usual, durationMs, files.get("work")]).toEqual([1, 5000, "a.go"]);
  });
  test("frames without a name say their module and where in it they are", () => {
    const mapping = (id: number, start: number, limit: number, offset: number, file: number) =>
      new Writer().int(1, id).int(2, start).int(3, limit).int(4, offset).int(5, file).bytes();
    const location = (id: number, mapping: number, address: number) => new Writer().int(1, id).int(2, mapping).int(3, address).bytes();
    const out = new Writer()
      .message(1, new Writer().int(1, 1).int(2, 2).bytes())
      .message(2, new Writer().ints(1, [1, 2, 3, 4, 5]).ints(2, [1]).bytes())
      .message(3, mapping(1, 0x4000, 0x5000, 0x100, 3))
      .message(3, mapping(2, 0x4000, 0x5000, 0, 4))
      .message(4, location(1, 1, 0x4e35))
      .message(4, location(2, 2, 0x4e35))
      .message(4, location(3, 1, 0x9000))
      .message(4, location(4, 7, 0x10))
      .message(4, location(5, 1, 0x4000));
    for (const text of ["", "cpu", "count", "/usr/bin/shop", "libc.so.6"]) out.text(6, text);
    expect([...readPlaces(out.bytes()).modules]).toEqual([
      ["0x4e35", "shop+0xf35, libc.so.6+0xe35"],
      ["0x9000", "shop"],
      ["0x4000", "shop+0x100"],
    ]);
  });
  test("a missing location is named", () => {
    const torn = new Writer().message(1, new Uint8Array()).message(2, new Writer().ints(1, [5]).ints(2, [1]).bytes()).bytes();
    expect(() => readPprof(torn)).toThrow("location 5");
  });
  test("every cut of a file is refused or read, never endless", () => {
    const whole = pprof();
    for (let length = 0; length < whole.length; length++) {
      try {
        readPprof(whole.slice(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }
  });
});

describe("files are known by their first bytes", () => {
  test.each<[string, Uint8Array<ArrayBuffer>, string]>([
    ["folded", bytes("main;work 3\nmain 1\n"), "main 1|main;work 3"],
    ["pprof", pprof(), `main 10|main;work;${MARKUP} 20`],
    ["speedscope", bytes(writeSpeedscope(readFolded("a;b 2\na 1"), "x", "nanoseconds")), "a 1|a;b 2"],
    [
      "speedscope with events",
      bytes(
        JSON.stringify({
          shared: { frames: [{ name: "a" }, { name: "b" }] },
          profiles: [{ type: "evented", unit: "milliseconds", events: [{ type: "O", frame: 0, at: 0 }, { type: "O", frame: 1, at: 2 }, { type: "C", frame: 1, at: 5 }, { type: "C", frame: 0, at: 6 }] }],
        }),
      ),
      "a 3|a;b 3",
    ],
    ["Flamebearer", bytes(JSON.stringify({ flamebearer: { names: ["total", "a"], levels: [[0, 3, 0, 0], [0, 3, 3, 1]] }, metadata: {} })), "a 3"],
  ])("%s", async (_, file, expected) => {
    for (const packed of [file, await gzip(file)]) {
      const { types, usual } = await readAny("upload.bin", packed);
      expect(writeFolded(types[usual]!.flame).trim().split("\n").join("|")).toBe(expected);
    }
  });
  test.each([["{}"], ["{"], ["not a profile"], [""], ["\u0001\u0002\u0003"]])("%j is refused with a reason", async (text) => {
    await expect(readAny("x", bytes(text))).rejects.toThrow(/.{10,}/);
  });
});

describe("exports", () => {
  const flame = readFolded(`main;${MARKUP} 2\nmain;=1+2 1\nmain;\u202eevil 1`);
  test("SVG holds names as text alone", () => {
    const svg = writeSvg(flame, MARKUP, { fill: () => "#123456", text: "#000000", back: "#ffffff", label: (node) => flame.names[flame.name[node]!]!, describe: () => `${MARKUP}\u0000` });
    expect(svg).not.toContain("<img");
    expect(svg).toContain("&#60;img src=x onerror=alert(1)&#62;");
    expect(escapeXml("\u0000\ud800<")).toBe("\ufffd\ufffd&#60;");
  });
  test("CSV begins no formula", () => {
    expect(writeCsv(flame, "count").split("\r\n").slice(0, 4)).toEqual(["function,self (count),total (count)", `${MARKUP},2,2`, "'=1+2,1,1", "\u202eevil,1,1"]);
  });
  test("file names are plain", () => expect([fileName("../Größe <b>", "svg"), fileName("", "csv")]).toEqual(["..-Gro-e-b.svg", "profile.csv"]));
});

test("the call tree opens along the hot path", () => {
  const flame = readFolded("a;b;c 6\na;x 1\nd 3");
  const open = new Set(hotPath(flame));
  expect(treeRows(flame, open).map(({ node, level, isOpen }) => `${" ".repeat(level)}${flame.names[flame.name[node]!]}${isOpen ? " v" : ""}`)).toEqual([" a v", "  b v", "   c", "  x", " d"]);
});

test("a function's history is its share of each part", () => {
  expect(weightOf(readFolded("a;f;f 2\nb;f 1\nc 1"), "f")).toEqual({ self: 0.75, total: 0.75 });
  expect(weightOf(readFolded("a 1"), "f")).toEqual({ self: 0, total: 0 });
  expect(weightOf(readFolded(""), "f")).toBeNull();
  const parts = partsOf({ from: 0, until: 100 }, 3);
  expect(parts).toEqual([{ from: 0, until: 33 }, { from: 34, until: 66 }, { from: 67, until: 100 }]);
  expect(meansOf({ stepSeconds: 0.02, times: [0.01, 0.03, 0.05], values: [2, 4, null] }, parts)).toEqual([3, null, null]);
  // Each step is longer than a part.
  expect(meansOf({ stepSeconds: 0.05, times: [0.025, 0.075], values: [2, null] }, parts)).toEqual([2, 2, null]);
});

test("labels are sorted by how unevenly they split", () => {
  expect([[1], [0.5, 0.5], [1, 0], [0.75, 0.25]].map(unevenness)).toEqual([0, 0, 1, 0.5]);
  const split = splitOf("region", [{ value: "eu", points: [{ time: 1, value: 1 }, { time: 9, value: 5 }] }, { value: "us", points: [{ time: 1, value: 2 }] }], 0, 10);
  expect(split.parts.map(({ value, share, change }) => [value, share, change])).toEqual([["eu", 0.75, 4], ["us", 0.25, -2]]);
  expect(split.moved).toBe(0.5);
});
