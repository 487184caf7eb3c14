// A page that is left open: live follow, on a clock that runs ahead, does not make it grow.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const EVERY_MS = 5000;
/** Refreshes before the first look: caches of answers and of code are full by then. */
const SETTLING = 30;
/** LIVE_REFRESHES=720 is an hour, which takes minutes; a leak shows in fewer. */
const REFRESHES = Number(process.env.LIVE_REFRESHES ?? 120);
/** What may come and go with one answer more or less; a leak of one answer each would be far above. */
const MOST_GROWTH_BYTES = 3_000_000;

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  const stacks = Array.from({ length: 400 }, (_, i) => `main;serve;handler.${i % 20};step.${i % 90};leaf.${i} ${1 + (i % 9)}`).join("\n");
  await pushFolded(url, "alpha.cpu{region=eu}", stacks, 60);
});
after(() => session?.close());

test("live follow does not make a page grow", { timeout: 900_000 }, async () => {
  await page.clock.install();
  await page.goto(`${url}/explore?v=1&service=alpha&from=now-6h`);
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
  await page.getByRole("button", { name: /^Time range/ }).click();
  await page.getByRole("combobox", { name: "Refresh by itself" }).selectOption("5s");
  await page.getByRole("heading", { name: "CPU time over time" }).click();
  const devtools = await page.context().newCDPSession(page);
  const refresh = async () => {
    const answered = page.waitForResponse((response) => response.url().includes("/api/v1/flamegraph"));
    await page.clock.runFor(EVERY_MS);
    await answered;
    // The end of a response is not always told: what is on the page is.
    await page.locator('.views[aria-busy="false"]').waitFor();
  };
  const used = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    const [{ usedSize }, { nodes }] = [await devtools.send("Runtime.getHeapUsage"), await devtools.send("Memory.getDOMCounters")];
    return { bytes: usedSize, nodes };
  };
  for (let i = 0; i < SETTLING; i++) await refresh();
  const begin = await used();
  for (let i = 0; i < REFRESHES; i++) await refresh();
  const end = await used();
  console.log(`after ${SETTLING} refreshes ${(begin.bytes / 1e6).toFixed(1)} MB and ${begin.nodes} nodes, ${REFRESHES} later ${(end.bytes / 1e6).toFixed(1)} MB and ${end.nodes} nodes`);
  assert.ok(end.bytes - begin.bytes < MOST_GROWTH_BYTES, `${begin.bytes} became ${end.bytes} bytes`);
  assert.ok(end.nodes < begin.nodes * 1.5 + 200, `${begin.nodes} became ${end.nodes} nodes`);
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
