// A stand-in for the server while working on the pages: the same wire, made-up data that is the same
// on every run, and the built pages (ui/dist) under the policy that the real server sends.
//
//   node dev/mock-server.mjs [--port 4099] [--empty]
//
// Services: shop (all common types), huge (100,000 nodes), hostile (names that try to be markup),
// leaky (negative values), broken (every question about it fails). Folded profiles that are pushed to
// /ingest are kept in memory and shown too.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const port = Number(option("port", "4099"));
const isEmpty = process.argv.includes("--empty");
const dist = fileURLToPath(new URL("../dist/", import.meta.url));

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SPACE = "memory:inuse_space:bytes:space:bytes";
const TYPES = [
  CPU,
  SPACE,
  "memory:alloc_space:bytes:space:bytes",
  "memory:alloc_objects:count:space:bytes",
  "goroutine:goroutines:count:goroutine:count",
  "mutex:delay:nanoseconds:mutex:count",
];
const GENERATED = {
  shop: TYPES,
  huge: [CPU],
  hostile: [CPU],
  leaky: [SPACE],
  broken: [CPU],
  "checkout-worker": [CPU, SPACE],
  "python-reports": [CPU],
};

/** Numbers that look random and are the same every time. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const PACKAGES = [
  "runtime.mallocgc", "runtime.gcBgMarkWorker", "net/http.(*conn).serve", "net/http.HandlerFunc.ServeHTTP",
  "github.com/prometheus/prometheus/tsdb.(*Head).Append", "github.com/acme/shop/internal/cart.(*Cart).Total",
  "github.com/acme/shop/internal/price.Round", "encoding/json.(*decodeState).object", "crypto/tls.(*Conn).Read",
  "java/util/HashMap.put", "org.springframework.web.servlet.DispatcherServlet.doDispatch",
  "tokio::runtime::task::raw::poll", "<alloc::vec::Vec<T> as core::clone::Clone>::clone",
  "std::vector<int, std::allocator<int>>::push_back(int const&)", "lib/reports/render.py draw_chart",
  "./dist/server.js:handle:12", "do_syscall_64_[k]",
];
const HOSTILE = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a\u0000b", "\u202eevil\u202c", "Ünïcödé.функция",
  `std::map<${"std::pair<int, std::string>, ".repeat(32)}int>::find`, "日本語の関数", "e\u0301\u0301\u0301 combining", "&amp;\"'`",
];

/** Splits `total` over children again and again until there are about `count` nodes. */
function generate(names, count, seed, total, signed, fan = 4) {
  const next = random(seed);
  const root = { name: "total", total, self: 0, children: [] };
  const open = [root];
  let nodes = 1;
  for (let i = 0; i < open.length && nodes < count; i++) {
    const node = open[i];
    let left = Math.floor(node.total * (node === root ? 1 : 0.85 + 0.14 * next()));
    const wanted = node === root ? 8 : 1 + Math.floor(next() * fan);
    const used = new Set();
    for (let k = 0; k < wanted && nodes < count && Math.abs(left) > 4; k++) {
      const share = Math.max(1, k === wanted - 1 ? left : Math.floor(left * (0.2 + 0.6 * next())));
      const name = names[Math.floor(next() * names.length)] + (names.length > 20 || count < 5000 ? "" : `${Math.floor(next() * 400)}`);
      if (used.has(name)) continue;
      used.add(name);
      const child = { name, total: share, self: 0, children: [] };
      left -= share;
      node.children.push(child);
      open.push(child);
      nodes++;
    }
    node.children.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  settle(root);
  if (signed) negate(root, next);
  return root;
}

function settle(root) {
  for (const node of walk(root)) node.self = node.total - node.children.reduce((sum, child) => sum + child.total, 0);
}

function negate(root, next) {
  const all = [...walk(root)];
  for (const node of all) if (next() < 0.3) node.self = -Math.abs(node.self);
  for (const node of all.reverse()) node.total = node.self + node.children.reduce((sum, child) => sum + child.total, 0);
}

function* walk(root) {
  const stack = [root];
  while (stack.length > 0) {
    const node = stack.pop();
    yield node;
    stack.push(...node.children);
  }
}

function flameGraph(root) {
  const names = [];
  const index = new Map();
  const levels = [];
  const indexOf = (name) => {
    if (!index.has(name)) index.set(name, names.push(name) - 1);
    return index.get(name);
  };
  let level = [{ node: root, at: 0 }];
  while (level.length > 0) {
    const values = [];
    const below = [];
    let end = 0;
    for (const { node, at } of level) {
      values.push(at - end, node.total, node.self, indexOf(node.name));
      end = at + Math.max(0, node.total);
      let left = at + Math.max(0, node.self);
      for (const child of node.children) {
        below.push({ node: child, at: left });
        left += Math.max(0, child.total);
      }
    }
    levels.push({ values: values.map(String) });
    level = below;
  }
  return { names, levels, total: String(root.total), maxSelf: "1" };
}

const pushed = new Map();

function push(url, body) {
  const name = url.searchParams.get("name") ?? "";
  const service = name.replace(/\{.*$/, "").replace(/\.cpu$/, "");
  const labels = Object.fromEntries((/\{(.*)\}/.exec(name)?.[1] ?? "").split(",").filter(Boolean).map((pair) => pair.split("=")));
  const period = 1e9 / Number(url.searchParams.get("sampleRate") ?? 100);
  const seconds = Number(url.searchParams.get("from") ?? Date.now() / 1000);
  if (!pushed.has(service)) pushed.set(service, []);
  pushed.get(service).push({ labels, time: seconds > 1e11 ? seconds : seconds * 1000, period, body });
}

function treeOf(profiles) {
  const root = { name: "total", total: 0, self: 0, children: [] };
  for (const { body, period } of profiles) {
    for (const line of body.split("\n").filter(Boolean)) {
      const cut = line.lastIndexOf(" ");
      const value = Number(line.slice(cut + 1)) * period;
      let node = root;
      node.total += value;
      for (const frame of line.slice(0, cut).split(";")) {
        let child = node.children.find((each) => each.name === frame);
        if (!child) node.children.push((child = { name: frame, total: 0, self: 0, children: [] }));
        child.total += value;
        node = child;
      }
    }
  }
  settle(root);
  return root;
}

const serviceOf = (selector) => /service_name="([^"]*)"/.exec(selector ?? "")?.[1] ?? "";
const all = () => (isEmpty ? {} : GENERATED);
const inRange = (service, { start, end }) => (pushed.get(service) ?? []).filter((p) => p.time >= Number(start) && p.time <= Number(end));

function graphOf(body) {
  const service = serviceOf(body.labelSelector);
  if (pushed.has(service)) return flameGraph(treeOf(inRange(service, body)));
  if (!all()[service]) return { names: ["total"], levels: [{ values: ["0", "0", "0", "0"] }] };
  if (service === "huge") return flameGraph(generate(PACKAGES, 100_000, 7, 4e15, false, 1.7));
  if (service === "hostile") return flameGraph(generate([...HOSTILE, ...PACKAGES.slice(0, 4), "other"], 80, 11, 3.6e12, false));
  if (service === "leaky") return flameGraph(generate(PACKAGES, 120, 13, 5e8, true));
  return flameGraph(generate(PACKAGES, 900, service.length, body.profileTypeID === CPU ? 2.9e12 : 3.1e9, false));
}

function seriesOf(body) {
  const chosen = serviceOf(body.labelSelector);
  const found = Object.keys(all()).filter((name) => (chosen === "" || name === chosen) && all()[name].includes(body.profileTypeID));
  const series = found.map((name) => ({
    labels: body.groupBy?.length ? [{ name: "service_name", value: name }] : [],
    points: wave(name, body),
  }));
  for (const name of pushed.keys()) {
    if (chosen !== "" && chosen !== name) continue;
    const points = inRange(name, body).map((p) => ({ value: treeOf([p]).total, timestamp: String(p.time) }));
    series.push({ labels: body.groupBy?.length ? [{ name: "service_name", value: name }] : [], points });
  }
  return { series };
}

/** One profile each 15 s, booked on steps as the server does. */
function wave(name, { start, end, step, profileTypeID }) {
  const next = random(name.length * 31);
  const stepMs = step * 1000;
  const sums = new Map();
  const isLevel = /inuse|goroutine/.test(profileTypeID);
  const scale = profileTypeID === CPU ? 15e9 : profileTypeID.includes("goroutine") ? 900 : profileTypeID.includes("delay") ? 2e9 : 6e8;
  for (let time = Number(start); time <= Number(end); time += 15_000) {
    const at = Number(start) + Math.ceil((time - Number(start)) / stepMs) * stepMs;
    const value = scale * (0.4 + 0.2 * Math.sin(time / 4e5 + name.length) + 0.12 * next());
    const before = sums.get(at) ?? { sum: 0, n: 0 };
    sums.set(at, { sum: before.sum + value, n: before.n + 1 });
  }
  return [...sums].map(([timestamp, { sum, n }]) => ({ value: isLevel ? sum / n : sum, timestamp: String(timestamp) }));
}

const METHODS = {
  Series: (body) => ({
    labelsSet: [
      ...Object.entries(all()).flatMap(([name, types]) => types.map((type) => [name, type])),
      ...[...pushed.keys()].filter((name) => inRange(name, body).length > 0).map((name) => [name, CPU]),
    ].map(([name, type], i) => ({
      labels: [
        { name: "__profile_type__", value: type },
        { name: "region", value: i % 2 ? "eu" : "us" },
        { name: "service_name", value: name },
        { name: "version", value: i % 3 ? "1.4.0" : "1.4.1" },
      ],
    })),
  }),
  ProfileTypes: () => ({ profileTypes: TYPES.map((ID) => ({ ID })) }),
  LabelNames: () => ({ names: ["__profile_type__", "pod", "region", "service_name", "version", "otel.scope.name"] }),
  LabelValues: ({ name }) => ({ names: name === "region" ? ["eu", "us"] : name === "version" ? ["1.4.0", "1.4.1"] : Array.from({ length: 40 }, (_, i) => `${name}-${i}`) }),
  SelectSeries: seriesOf,
  SelectMergeStacktraces: (body) => ({ flamegraph: graphOf(body) }),
};

const BROKEN = { code: "unavailable", message: "lake: samples/date=2026-08-01/part-7.parquet is missing (asked for by this query); restore it from a backup" };

/** The fields of a `SelectMergeStacktracesRequest` that matter here: type, selector, start and end. */
function readRequest(bytes) {
  const asked = {};
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    let value = varint();
    if (key % 8 === 2) value = bytes.subarray(at, (at += value)).toString();
    const name = [, "profileTypeID", "labelSelector", "start", "end"][Math.floor(key / 8)];
    if (name) asked[name] = value;
  }
  return asked;
}

function writeFlameGraph({ names, levels }) {
  const varint = (value) => {
    if (BigInt(value) < 0n) return varint(BigInt.asUintN(64, BigInt(value)));
    const out = [];
    let rest = BigInt(value);
    for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
    out.push(Number(rest));
    return Buffer.from(out);
  };
  const field = (number, content) => Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
  const packed = (values) => Buffer.concat(values.map((value) => varint(Math.round(Number(value)))));
  return field(1, Buffer.concat([...names.map((name) => field(1, Buffer.from(name))), ...levels.map(({ values }) => field(2, field(1, packed(values))))]));
}

const MEDIA = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  const json = (status, value) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(value));
  };
  if (url.pathname === "/ingest") {
    push(url, body);
    return response.end();
  }
  if (url.pathname.endsWith("/SelectMergeStacktraces") && request.headers["content-type"] === "application/proto") {
    const asked = readRequest(Buffer.concat(chunks));
    if (serviceOf(asked.labelSelector) === "broken") return json(503, BROKEN);
    response.writeHead(200, { "Content-Type": "application/proto" });
    return response.end(writeFlameGraph(graphOf(asked)));
  }
  const method = METHODS[url.pathname.replace("/querier.v1.QuerierService/", "")];
  if (method) {
    const asked = JSON.parse(body);
    if (serviceOf(asked.labelSelector) === "broken") {
      return json(503, BROKEN);
    }
    return json(200, method(asked));
  }
  const file = url.pathname.startsWith("/assets/") ? normalize(url.pathname) : "index.html";
  try {
    const bytes = await readFile(join(dist, file));
    response.writeHead(200, { "Content-Type": MEDIA[extname(file)] ?? "application/octet-stream", "Content-Security-Policy": POLICY });
    response.end(bytes);
  } catch {
    response.writeHead(404);
    response.end("not found; is ui/dist built?");
  }
});
server.listen(port, "127.0.0.1", () => console.log(`mock server on http://127.0.0.1:${server.address().port}`));
