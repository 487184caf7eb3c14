// How fast the pages are with profiles as large as people have them: time to the first flame graph, and
// the time between frames while it is hovered, zoomed and panned at 1600 × 900 in software rendering.
//
// Files are folded stacks, or trees in the binary form of /ingest when their names end with .bin or .bin.gz.
//
//   EVERFLAME_BIN=../target/release/everflame node dev/bench.mjs [FILE…]

import { readFile } from "node:fs/promises";
import { availableParallelism, loadavg } from "node:os";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium.mjs";
import { startServer } from "../e2e/server.mjs";
import { largeTree, manySamples } from "./large-profiles.mjs";

/** The server takes no more in one upload. */
const MOST_UPLOAD_BYTES = 48 * 2 ** 20;
const OPENINGS = 3;
const TYPE = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

const profiles = [
  { name: "100,000 nodes", lines: largeTree(100_000, 7) },
  { name: "220,120 nodes", lines: largeTree(220_119, 11) },
  { name: "1,000,000 samples", lines: manySamples(1_000_000, 13) },
];
for (const file of process.argv.slice(2)) {
  const bytes = await readFile(file);
  const tree = /\.bin(\.gz)?$/.test(file) && (file.endsWith(".gz") ? gunzipSync(bytes) : bytes);
  profiles.push({ name: basename(file), ...(tree ? { tree } : { lines: bytes.toString("utf8").split("\n").filter(Boolean) }) });
}

const server = await startServer();
const browser = await chromium.launch(CHROMIUM);
const at = (values, share) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const ms = (value, digits = 0) => (Number.isNaN(value) ? "-" : value.toFixed(digits));

try {
  console.log(`load of the machine before: ${loadavg()[0].toFixed(1)} on ${availableParallelism()} processors`);
  console.log("profile                  nodes   first graph   hover p50/p95    zoom p50/p95     pan p50/p95   (ms)");
  for (const [i, { name, lines, tree }] of profiles.entries()) {
    if (tree) await upload(`bench-${i}`, "tree", tree, Math.floor(Date.now() / 1000));
    else await push(`bench-${i}`, lines);
    const openings = [];
    let page;
    for (let k = 0; k < OPENINGS; k++) {
      await page?.close();
      page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
      openings.push(await open(page, `bench-${i}`));
    }
    const nodes = await page.locator("[data-nodes]").first().getAttribute("data-nodes");
    const frames = await frameTimes(page);
    const columns = frames.map((gaps) => `${ms(at(gaps, 0.5), 1)} / ${ms(at(gaps, 0.95), 1)}`.padStart(16));
    console.log(`${name.padEnd(20)} ${nodes.padStart(9)} ${ms(at(openings, 0.5)).padStart(13)} ${columns.join("")}`);
    await page.close();
  }
} finally {
  await browser.close();
  await server.stop();
}

async function push(service, lines) {
  const until = Math.floor(Date.now() / 1000);
  let part = [];
  let bytes = 0;
  const send = async () => {
    await upload(service, "folded", part.join("\n"), until);
    part = [];
    bytes = 0;
  };
  for (const line of lines) {
    part.push(line);
    bytes += line.length + 1;
    if (bytes > MOST_UPLOAD_BYTES) await send();
  }
  if (part.length > 0) await send();
}

async function upload(service, format, body, until) {
  const query = new URLSearchParams({ name: `${service}.cpu`, format, from: String(until - 10), until: String(until), sampleRate: "100" });
  const response = await fetch(`${server.url}/ingest?${query}`, { method: "POST", body });
  if (!response.ok) throw new Error(`/ingest answered ${response.status}: ${await response.text()}`);
}

/** From asking for the page to the frame in which the graph is painted. */
async function open(page, service) {
  await page.addInitScript(() => {
    window.gaps = [];
    let before = 0;
    const tick = (now) => {
      if (before) window.gaps.push(now - before);
      before = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const begun = performance.now();
  await page.goto(`${server.url}/explore?v=1&service=${service}&type=${encodeURIComponent(TYPE)}&view=flame`);
  await page.waitForFunction(() => {
    const canvas = document.querySelector(".flamegraph-canvas");
    return canvas?.width > 300 && canvas.getContext("2d").getImageData(4, 4, 1, 1).data.some((value, i) => i < 3 && value > 0);
  });
  return performance.now() - begun;
}

async function frameTimes(page) {
  const tree = page.getByRole("tree");
  await tree.scrollIntoViewIfNeeded();
  const box = await tree.boundingBox();
  const place = (x, y) => [box.x + box.width * x, box.y + Math.min(box.height, 500) * y];
  const measure = async (act) => {
    await page.evaluate(() => (window.gaps.length = 0));
    await act();
    return page.evaluate(() => window.gaps);
  };
  const hover = await measure(async () => {
    for (let i = 0; i < 200; i++) await page.mouse.move(...place((i % 97) / 97, 0.1 + ((i * 7) % 80) / 100));
  });
  await page.mouse.move(...place(0.3, 0.5));
  await page.keyboard.down("Control");
  const zoom = await measure(async () => {
    for (let i = 0; i < 160; i++) await page.mouse.wheel(0, i < 80 ? -60 : 55);
  });
  for (let i = 0; i < 10; i++) await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  const pan = await measure(async () => {
    await page.mouse.move(...place(0.5, 0.5));
    await page.mouse.down();
    for (let i = 0; i < 200; i++) await page.mouse.move(...place(0.5 + 0.4 * Math.sin(i / 15), 0.5 + 0.2 * Math.cos(i / 15)));
    await page.mouse.up();
  });
  return [hover, zoom, pan];
}
