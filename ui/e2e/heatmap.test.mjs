// Single profiles by time and value: an outlier among many is seen, chosen, listed, opened and saved.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";

const PROFILES = 60;
/** The one that is far larger than all others. */
const OUTLIER = 42;

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  const begin = Math.floor(Date.now() / 1000) - PROFILES * 30;
  for (let i = 0; i < PROFILES; i++) {
    const body = i === OUTLIER ? "main;serve 100\nmain;stop.the.world 900" : `main;serve ${100 + (i % 7) * 10}`;
    const query = new URLSearchParams({ name: `shop.cpu{pod=shop-${i % 3}}`, format: "folded", from: String(begin + i * 30), until: String(begin + i * 30 + 10), sampleRate: "100" });
    const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body });
    assert.ok(response.ok, await response.text());
  }
});
after(() => session?.close());

const map = () => page.getByRole("application", { name: /CPU time of single profiles/ });
const rows = () => page.getByRole("region", { name: "Single profiles" }).locator("tbody tr");
const graph = () => page.getByRole("tree", { name: "Flame graph", exact: true });
/** How much of each half of the canvas is painted with a colour: the upper has the outlier alone. */
const painted = () =>
  map().locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const halves = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] > 0 && Math.abs(data[i] - data[i + 2]) > 60) halves[i < data.length / 2 ? 0 : 1]++;
    }
    return halves;
  });

test("one profile stands out above all others", async () => {
  await page.goto(`${url}/heatmap?v=1&service=shop`);
  await map().waitFor();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 60);
  const [above, below] = await painted();
  assert.ok(above > 20 && below > above * 3, `${above} above, ${below} below`);
  await rows().first().getByText("10 s").first().waitFor();
});

test("a rectangle around it shows what it did", async () => {
  const box = await map().boundingBox();
  await page.mouse.move(box.x + 100, box.y + 4);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 10, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/area=\d+\.\d+\.\d+\.\d+/);
  await page.getByText(/^1 profile: /).waitFor();
  await graph().getByRole("treeitem", { name: /stop\.the\.world, total 9 s, 90 %/ }).or(graph().getByRole("treeitem", { name: /^total, total 10 s/ })).first().waitFor();
  // The list is a question of its own.
  await rows().nth(1).waitFor({ state: "detached" });
  assert.equal(await rows().count(), 1);
  await page.getByRole("heading", { name: "What the chosen profiles did" }).waitFor();
  await page.getByRole("table", { name: "Functions" }).getByText("world").waitFor();
});

test("the rectangle is part of the link, and a step that goes back", async () => {
  await page.reload();
  await page.getByText(/^1 profile: /).waitFor();
  await page.locator(".heatmap-area").waitFor();
  await page.getByRole("button", { name: "Choose nothing" }).click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 60);
  await page.goBack();
  await page.getByText(/^1 profile: /).waitFor();
  await page.goBack();
  await page.waitForFunction(() => !location.search.includes("area"));
});

test("keys choose a rectangle too", async () => {
  await map().focus();
  await page.keyboard.press("ArrowLeft");
  await page.locator(".heatmap-told").getByText(/ · 1$/).waitFor();
  await page.keyboard.press("Shift+ArrowRight");
  await page.keyboard.press("Enter");
  await page.getByText(/^1 profile: /).waitFor();
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !location.search.includes("area"));
});

test("a single profile is opened and saved as pprof", async () => {
  await page.getByRole("combobox", { name: "Order of the profiles" }).selectOption("newest");
  await rows().first().getByText("pod=shop-2").waitFor();
  await rows().first().getByRole("button", { name: "Flame graph" }).click();
  await page.waitForURL(/one=[0-9a-f-]{36}/);
  await page.getByRole("heading", { name: /^The profile of / }).waitFor();
  await graph().getByRole("treeitem", { name: /^total, total 1\.3 s/ }).waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), rows().first().getByRole("link", { name: "pprof" }).click()]);
  const pprof = gunzipSync(await readFile(await download.path()));
  assert.ok(pprof.includes("serve") && !pprof.includes("stop.the.world"));
});

test("without spans the page says where they come from", async () => {
  await page.getByRole("button", { name: "Spans" }).click();
  await page.waitForURL(/of=spans/);
  await page.getByText("No profile of this range knows its span.").waitFor();
});

test("spans stand beside each other, and one is opened", async () => {
  const now = Math.floor(Date.now() / 1000) - 60;
  const spans = [...Array(12).keys()].map((i) => ({ spanId: (i + 1).toString(16).padStart(16, "0"), value: i === 5 ? 900 : 40 + i }));
  const profile = (at, i) => ({
    sampleType: { typeStrindex: 1, unitStrindex: 2 },
    timeUnixNano: `${at}000000000`,
    durationNano: "1000000000",
    samples: [{ stackIndex: i === 5 ? 2 : 1, linkIndex: i + 1, values: [String(spans[i].value * 1_000_000)], timestampsUnixNano: [`${at}500000000`] }],
  });
  const sent = await fetch(`${url}/v1development/profiles`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      resourceProfiles: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "traced" } }] },
          scopeProfiles: [{ profiles: spans.map((_, i) => profile(now - 600 + i * 30, i)) }],
        },
      ],
      dictionary: {
        mappingTable: [{}],
        functionTable: [{}, { nameStrindex: 3 }, { nameStrindex: 4 }],
        locationTable: [{}, { lines: [{ functionIndex: 1 }] }, { lines: [{ functionIndex: 2 }] }],
        stackTable: [{}, { locationIndices: [1] }, { locationIndices: [2, 1] }],
        stringTable: ["", "cpu", "nanoseconds", "handle", "slow.path"],
        linkTable: [{}, ...spans.map(({ spanId }) => ({ traceId: `${"0".repeat(16)}${spanId}`, spanId }))],
        attributeTable: [{}],
      },
    }),
  });
  assert.ok(sent.ok, await sent.text());
  await page.goto(`${url}/heatmap?v=1&service=traced&of=spans`);
  await page.getByRole("application", { name: /CPU time of single spans/ }).waitFor();
  const listed = page.getByRole("region", { name: "Single spans" }).locator("tbody tr");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 12);
  await listed.first().getByText("900 ms").waitFor();
  await listed.first().getByText("0000000000000006").first().waitFor();
  await listed.first().getByRole("button", { name: "Flame graph" }).click();
  await page.getByRole("heading", { name: /^The span of / }).waitFor();
  await graph().getByRole("treeitem", { name: /^total, total 900 ms/ }).waitFor();
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
