// From a first profile to the function that costs the most, as a person would go.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM } from "./chromium.mjs";
import { pushFolded, startServer } from "./server.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";
const SCRIPT = "<script>document.title='broken'</script>";
const FOLDED = [
  "main.main;net/http.(*conn).serve;github.com/acme/shop/cart.(*Cart).Total 60",
  "main.main;net/http.(*conn).serve;github.com/acme/shop/cart.(*Cart).Total;runtime.mallocgc 20",
  `main.main;${MARKUP};${SCRIPT} 15`,
  "main.main;other 5",
].join("\n");
const SERVICE = "shop";

let server;
let browser;
let page;
const faults = [];
/** What was refused as it should be; the browser remarks on each. */
const refusals = [];

/** A selector of labels that the server refuses. */
const REFUSED = 'region=~"("';

before(async () => {
  server = await startServer();
  browser = await chromium.launch(CHROMIUM);
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`${message.text()} ${message.location().url}`);
  });
  page.on("response", (response) => {
    const request = response.request();
    const asked = decodeURIComponent(request.url()) + (request.postData() ?? "");
    if (response.status() === 400 && asked.replaceAll("\\", "").includes(REFUSED)) refusals.push(request.url());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(server.url).origin) faults.push(`a request left the server: ${request.url()}`);
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const flame = () => page.getByRole("tree", { name: "Flame graph" });
const treeItem = (name) => flame().getByRole("treeitem", { name });
const row = (text) => page.getByRole("table", { name: "Functions" }).getByRole("row").filter({ hasText: text });
const zoom = () => new URL(page.url()).searchParams.get("zoom");

/** Whether the canvas shows more than one colour in its second row. */
async function isPainted() {
  return flame().locator("canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, Math.round(canvas.height / 20), canvas.width, 1);
    const colours = new Set();
    for (let i = 0; i < data.length; i += 4) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
    return colours.size > 1;
  });
}

test("an empty server says how to send the first profile, which then appears by itself", async () => {
  await page.goto(server.url);
  if (!process.env.EVERFLAME_URL) {
    await page.getByText("Nothing has been profiled yet").waitFor();
    assert.match(await page.locator("pre").innerText(), new RegExp(`${server.url}/ingest`));
  }
  await pushFolded(server.url, `${SERVICE}.cpu{region=eu}`, FOLDED, 12);
  const card = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: SERVICE, exact: true }) });
  if (process.env.EVERFLAME_URL) await page.reload();
  await card.waitFor();
  await card.getByText(/\d cores?$/).waitFor();
  await card.getByRole("img", { name: "CPU time over time" }).waitFor();
  await card.getByRole("heading").click();
});

test("the flame graph and the table show where the time went", async () => {
  await page.waitForURL(/\/explore\?v=1&service=shop/);
  await treeItem(/^total, total 12 s, 100 %/).waitFor();
  await row("(*Cart).Total").getByText("60 %").waitFor();
  await page.waitForFunction(() => document.querySelector(".flamegraph-canvas")?.width > 300);
  assert.ok(await isPainted(), "the canvas is empty");
  await page.locator(".timeline canvas").waitFor();
});

test("hostile names are text", async () => {
  await row(MARKUP).waitFor();
  await row(SCRIPT).waitFor();
  await row(/^other/).waitFor();
  assert.equal(await page.locator("img[src=x]").count(), 0);
});

test("a click zooms, the breadcrumb leads back", async () => {
  const box = await flame().boundingBox();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 50);
  await page.mouse.move(box.x + 40, box.y + 50);
  await page.locator(".flamegraph-tooltip").waitFor();
  await page.keyboard.press("Escape");
  await flame().focus();
  for (const key of ["Home", "ArrowDown", "ArrowDown", "Enter"]) await page.keyboard.press(key);
  await page.getByRole("navigation", { name: "Zoomed into" }).getByRole("button", { name: "(*conn).serve" }).waitFor();
  assert.match(zoom() ?? "", /^\w+\.\w+$/);
  await page.goBack();
  await page.getByRole("button", { name: "Reset zoom" }).waitFor({ state: "detached" });
  assert.equal(zoom(), null);
  await page.goForward();
  await page.getByRole("button", { name: "Reset zoom" }).click();
  await page.getByRole("button", { name: "Reset zoom" }).waitFor({ state: "detached" });

  await page.mouse.click(box.x + 40, box.y + 30);
  await page.getByRole("navigation", { name: "Zoomed into" }).getByRole("button", { name: "main" }).waitFor();
});

test("the search is shared and survives a reload of the link", async () => {
  await page.keyboard.press("/");
  await page.keyboard.type("cart|mallocgc");
  await page.getByText("2 functions, 80 % of total").waitFor();
  await page.waitForURL(/search=/);
  await row(MARKUP).waitFor({ state: "detached" });
  await page.reload();
  await page.getByText("2 functions, 80 % of total").waitFor();
  await page.getByRole("button", { name: "Reset zoom" }).waitFor();
  await page.getByRole("searchbox").fill("");
  await row(MARKUP).waitFor();
});

test("the table sorts, and a row selects its function", async () => {
  await page.getByRole("button", { name: "Function" }).click();
  const first = page.getByRole("table", { name: "Functions" }).getByRole("row").nth(1);
  await first.filter({ hasText: "<" }).waitFor();
  await row("mallocgc").getByRole("button").click();
  await row("mallocgc").getByRole("button", { pressed: true }).waitFor();
});

test("labels are completed from what was sent", async () => {
  await page.getByRole("button", { name: "Filter by label" }).click();
  await page.getByRole("combobox", { name: "Label" }).fill("reg");
  await page.getByRole("option", { name: "region" }).click();
  await page.getByRole("combobox", { name: "Value" }).click();
  await page.getByRole("option", { name: "eu", exact: true }).click();
  await page.waitForURL(/labels=region/);
  await treeItem(/^total, total 12 s/).waitFor();
});

test("dragging over the timeline chooses a part of the range", async () => {
  const box = await page.locator(".timeline .u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + 30);
  await page.mouse.move(box.x + box.width * 0.995, box.y + 30);
  await page.mouse.up();
  await page.waitForURL(/from=\d{13}&until=\d{13}/);
  const { searchParams } = new URL(page.url());
  const minutes = (Number(searchParams.get("until")) - Number(searchParams.get("from"))) / 60_000;
  assert.ok(minutes > 28 && minutes < 31, `${minutes} minutes chosen`);
  await treeItem(/^total/).waitFor();
  await page.goBack();
  await page.getByRole("button", { name: "Time range: Last 1 h" }).waitFor();
});

test("the profile can be downloaded for go tool pprof", async () => {
  await page.getByRole("button", { name: "Export" }).click();
  const link = await page.getByRole("link", { name: "Download pprof" }).getAttribute("href");
  assert.match(link, /^\/api\/v1\/pprof\?query=process_cpu/);
  await page.keyboard.press("Escape");
  if (process.env.EVERFLAME_URL) return;
  const response = await page.request.get(server.url + link);
  assert.equal(response.status(), 200);
  assert.ok((await response.body()).length > 50);
});

test("the server's own words are shown when it refuses", async () => {
  await page.goto(`${server.url}/explore?v=1&service=shop&type=process_cpu:cpu:nanoseconds:cpu:nanoseconds&labels=${encodeURIComponent(REFUSED)}`);
  if (!process.env.EVERFLAME_URL) await page.getByRole("alert").first().waitFor();
});

test("a narrow screen needs no sideways scrolling, in either theme", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  const pages = { "/": page.getByRole("heading", { name: SERVICE, exact: true }), "/explore?v=1&service=shop": treeItem(/^total/) };
  for (const [path, shown] of Object.entries(pages)) {
    await page.goto(server.url + path);
    await shown.waitFor();
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${path} is too wide`);
  }
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await back();
  await page.getByRole("button", { name: "Switch to the dark theme" }).click();
  assert.notEqual(await back(), light);
});

test("nothing broke the policy or reached the console", () => {
  const remarks = new Set(refusals.map((url) => `Failed to load resource: the server responded with a status of 400 (Bad Request) ${url}`));
  assert.deepEqual(faults.filter((fault) => !remarks.has(fault)), []);
});
