// Timelines as they stand on the screen, of profiles that fit no grid, and of those of other times.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cpuPprof } from "../dev/pprof.mjs";
import { openBrowser } from "./browser.mjs";

const INTERVAL_S = 45;
const OLD = Date.UTC(2021, 4, 12, 10) / 1000;

let session;
let page;
let url;

const push = async (name, from, seconds, body, format = "folded") => {
  const query = new URLSearchParams({ name, format, from: String(from), until: String(from + seconds), sampleRate: "100" });
  const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body });
  assert.ok(response.ok, await response.text());
};

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
});
after(() => session?.close());

test("a server that has only profiles of long ago says so and leads there", async () => {
  await page.goto(url);
  await page.getByText("Nothing has been profiled yet").waitFor();
  const stack = [{ name: "main.main", file: "main.go", line: 9 }];
  await push("antique", Math.floor(Date.now() / 1000) - 60, 30, cpuPprof([{ stack, value: 15e9 }], OLD, 30), "pprof");
  await page.getByText("No profiles in this range").waitFor();
  await page.getByText(/The newest profile is of 12 May 2021/).waitFor();
  await page.goto(`${url}/explore?v=1&service=antique`);
  await page.getByText("antique sent nothing in this range.").waitFor();
  await page.getByRole("button", { name: "Look there" }).click();
  await page.waitForURL(/from=2021-05-12/);
  await page.getByRole("treeitem", { name: /^total, total 15 s/ }).waitFor();
  // Alone, it is as high as it measured.
  await readout(/ · 0\.5 cores$/);
  // Of a day as of an hour.
  await page.goto(`${url}/explore?v=1&service=antique&from=2021-05-12T00:00:00Z&until=2021-05-13T00:00:00Z`);
  await page.getByRole("treeitem", { name: /^total, total 15 s/ }).waitFor();
  await readout(/ · 0\.5 cores$/);
  for (const path of ["heatmap", "labels", "function"]) {
    await page.goto(`${url}/${path}?v=1&service=antique`);
    await page.getByRole("button", { name: "Look there" }).waitFor();
  }
});

/** Moves over the timeline until it tells what is wanted. */
async function readout(wanted) {
  const over = page.locator(".timeline .u-over").first();
  await over.waitFor();
  const box = await over.boundingBox();
  for (let x = 0; x < box.width; x += 4) {
    await page.mouse.move(box.x + x, box.y + 40);
    const said = await page.locator(".timeline-readout").first().textContent();
    if (wanted.test(said)) return said;
  }
  assert.fail(`the timeline says ${await page.locator(".timeline-readout").first().textContent()}`);
}

/** How high the filled part under the line is, column by column, in pixels from the axis. */
const heights = () =>
  page
    .locator(".timeline canvas")
    .first()
    .evaluate((canvas) => {
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const found = [];
      for (let x = Math.round(width * 0.1); x < width; x++) {
        for (let y = 0; y < height; y++) {
          const i = (y * width + x) * 4;
          // The line is the accent, far from any grey.
          if (data[i + 3] > 200 && data[i] - data[i + 2] > 60) {
            found.push([x, y]);
            break;
          }
        }
      }
      return found;
    });

test("profiles that fit no grid make a level line, without teeth and gaps", async () => {
  const now = Math.floor(Date.now() / 1000);
  for (const [pod, phase] of [["a", 0], ["b", 4], ["c", 9]]) {
    for (let from = now - 3 * 3600 + phase; from + INTERVAL_S <= now; from += INTERVAL_S) {
      await push(`steady.cpu{pod=${pod}}`, from, INTERVAL_S, "main;work 2250");
    }
  }
  for (const range of ["now-30m", "now-1h", "now-2h"]) {
    await page.goto(`${url}/explore?v=1&service=steady&from=${range}`);
    await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
    await page.locator(".timeline canvas").first().waitFor();
    const line = await heights();
    const tops = line.map(([, y]) => y);
    assert.ok(line.length > 700, `${line.length} columns in ${range}`);
    const gaps = line.slice(1).filter(([x], i) => x - line[i][0] > 1);
    assert.deepEqual(gaps, [], `gaps in ${range}`);
    assert.ok(Math.max(...tops) - Math.min(...tops) <= 6, `teeth of ${Math.max(...tops) - Math.min(...tops)} pixels in ${range}`);
    await readout(/ · 1\.5 cores$/);
  }
});

test("stacked by a label, the parts are level too", async () => {
  await page.goto(`${url}/explore?v=1&service=steady&by=pod`);
  await page.getByRole("img", { name: /CPU time over time, a, b, c|CPU time over time/ }).waitFor();
  await page.locator(".timeline-legend").getByText("c", { exact: true }).waitFor();
  await readout(/( · [abc] 0\.5 cores){3}$/);
});

test("the range zooms out", async () => {
  await page.goto(`${url}/explore?v=1&service=steady&from=now-30m`);
  await page.getByRole("button", { name: "Zoom out" }).click();
  await page.waitForURL(/from=\d{4}-/);
  const { searchParams } = new URL(page.url());
  assert.equal(Math.round((Date.parse(searchParams.get("until")) - Date.parse(searchParams.get("from"))) / 60_000), 60);
});

test("snapshots of memory are not taken for a sum", async () => {
  const now = Math.floor(Date.now() / 1000);
  for (let i = 10; i > 0; i--) {
    const query = new URLSearchParams({ name: "heap.inuse_space", format: "folded", units: "bytes", from: String(now - i * 30), until: String(now - i * 30 + 30) });
    const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body: `main;keep ${64 * 2 ** 20}` });
    assert.ok(response.ok, await response.text());
  }
  await page.goto(`${url}/explore?v=1&service=heap`);
  await page.getByText("The graph adds up 10 snapshots, of 64 MiB each on average.").waitFor();
  await readout(/ · 64 MiB$/);
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
