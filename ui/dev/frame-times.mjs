// Measures how smoothly the flame graph moves: node dev/frame-times.mjs URL-OF-AN-EXPLORE-PAGE
// Prints, for hover, pan and zoom, the time between frames, and the time that a frame takes to draw.

import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium.mjs";

const url = process.argv[2] ?? "http://127.0.0.1:4099/explore?v=1&service=huge&view=flame";
const browser = await chromium.launch(CHROMIUM);
const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
// Every callback of a frame is timed as a whole: painting is one of them.
await page.addInitScript(() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.frames_ = { gaps: [], work: [] };
  window.requestAnimationFrame = (callback) =>
    ask((now) => {
      const begun = performance.now();
      callback(now);
      window.frames_.work.push(performance.now() - begun);
    });
  let before = 0;
  const tick = (now) => {
    if (before) window.frames_.gaps.push(now - before);
    before = now;
    ask(tick);
  };
  ask(tick);
});
const opened = performance.now();
await page.goto(url);
await page.locator(".flamegraph-canvas").waitFor();
await page.waitForFunction(() => document.querySelector(".flamegraph-canvas")?.width > 300 && window.frames_.work.length > 0);
const nodes = await page.locator("[data-nodes]").first().getAttribute("data-nodes");
console.log(`${nodes} nodes, first drawn after ${Math.round(performance.now() - opened)} ms`);
await page.waitForTimeout(500);

const tree = page.getByRole("tree");
await tree.scrollIntoViewIfNeeded();
const box = await tree.boundingBox();
const at = (x, y) => [box.x + box.width * x, box.y + Math.min(box.height, 500) * y];

async function measure(name, act) {
  await page.evaluate(() => (window.frames_.gaps.length = window.frames_.work.length = 0));
  await act();
  const { gaps, work } = await page.evaluate(() => window.frames_);
  const at = (values, share) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)]?.toFixed(1) ?? "-";
  console.log(`${name}: between frames p50 ${at(gaps, 0.5)} p95 ${at(gaps, 0.95)} max ${at(gaps, 1)} ms; drawing p50 ${at(work, 0.5)} p95 ${at(work, 0.95)} max ${at(work, 1)} ms (${work.length} drawn)`);
}

await measure("hover", async () => {
  for (let i = 0; i < 200; i++) await page.mouse.move(...at((i % 97) / 97, 0.1 + ((i * 7) % 80) / 100));
});
await page.mouse.move(...at(0.3, 0.5));
await page.keyboard.down("Control");
await measure("zoom", async () => {
  for (let i = 0; i < 120; i++) await page.mouse.wheel(0, i < 60 ? -60 : 55);
});
for (let i = 0; i < 10; i++) await page.mouse.wheel(0, -100);
await page.keyboard.up("Control");
await measure("pan", async () => {
  await page.mouse.move(...at(0.5, 0.5));
  await page.mouse.down();
  for (let i = 0; i < 200; i++) await page.mouse.move(...at(0.5 + 0.4 * Math.sin(i / 15), 0.5 + 0.2 * Math.cos(i / 15)));
  await page.mouse.up();
});
await browser.close();
