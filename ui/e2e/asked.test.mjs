// What a page says when it cannot show what it was asked for: it never shows something else under its name.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cpuPprof } from "../dev/pprof.mjs";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

let session;
let page;
let url;

const link = (path, values) => `${url}${path}?${new URLSearchParams({ v: "1", ...values })}`;
const total = () => page.getByRole("tree", { name: "Flame graph", exact: true }).getByRole("treeitem", { name: /^total/ });

before(async () => {
  session = await openBrowser({ timezoneId: "Asia/Tokyo", acceptDownloads: true });
  ({ page } = session);
  ({ url } = session.server);
  await pushFolded(url, "shop.cpu{version=1}", "main;sell 500", 6);
  await pushFolded(url, "stock.cpu{version=2}", "main;count 300", 6);
  const began = Math.floor(Date.now() / 1000) - 60;
  const query = new URLSearchParams({ name: "idle", format: "pprof", from: String(began), until: String(began + 30) });
  const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body: cpuPprof([{ stack: [{ name: "main", file: "main.go", line: 1 }], value: 0 }], began, 30) });
  assert.ok(response.ok, await response.text());
});
after(() => session?.close());

test("labels that cannot be read are said, and can be dropped", async () => {
  for (const path of ["/explore", "/heatmap", "/labels", "/function"]) {
    await page.goto(link(path, { service: "shop", type: CPU, labels: "version=1" }));
    await page.getByRole("alert").getByText("The labels of this link cannot be read: “version=1”.").waitFor();
    assert.equal(await page.getByRole("tree").count(), 0);
  }
  await page.goto(link("/compare", { type: CPU, service1: "shop", service2: "shop", labels2: "oops" }));
  await page.getByRole("alert").getByText("oops").waitFor();
  await page.goto(link("/explore", { service: "shop", type: CPU, labels: "version=1" }));
  await page.getByRole("button", { name: "Look without them" }).click();
  await total().waitFor();
  assert.doesNotMatch(page.url(), /labels/);
});

test("a range that cannot be read is said, and nothing is shown under its name", async () => {
  for (const path of ["/", "/explore", "/heatmap", "/labels", "/function"]) {
    await page.goto(link(path, { service: "shop", type: CPU, from: "yesterday" }));
    await page.getByRole("alert").getByText("“yesterday – now” is no range of time.").waitFor();
    assert.equal(await page.getByRole("tree").count(), 0);
  }
  await page.goto(link("/explore", { service: "shop", type: CPU, from: "yesterday" }));
  await page.getByRole("button", { name: "Look at the last hour" }).click();
  await total().waitFor();
});

test("a type that is none is said on every page", async () => {
  for (const path of ["/heatmap", "/labels", "/function", "/compare", "/explore"]) {
    await page.goto(link(path, { service: "shop", service1: "shop", service2: "shop", type: "nonsense" }));
    await page.getByRole("alert").getByText("“nonsense” is no profile type.").waitFor();
    assert.equal(await page.locator(".page-skeleton").count(), 0);
  }
  await page.getByRole("button", { name: "Look at the first type" }).click();
  await total().waitFor();
});

test("the single view of Pyroscope leads to Explore, also when it names services by a pattern", async () => {
  await page.goto(`${url}/?${new URLSearchParams({ query: `${CPU}{service_name="stock"}`, from: "now-2h", until: "now" })}`);
  await page.waitForURL(/\/explore\?.*service=stock/);
  await total().filter({ hasText: "total 18 s" }).waitFor();
  await page.goto(`${url}/?${new URLSearchParams({ query: `${CPU}{service_name=~"shop|stock"}`, from: "now-2h", until: "now" })}`);
  await total().filter({ hasText: "total 48 s" }).waitFor();
  assert.doesNotMatch(page.url(), /service=/);
});

test("times are typed in the zone that is shown, and links say which", async () => {
  const at = new Date(Math.floor(Date.now() / 60_000) * 60_000 - 1_800_000);
  const typed = new Date(at.getTime() + 9 * 3_600_000).toISOString().slice(0, 16).replace("T", " ");
  const choose = async (from) => {
    await page.getByRole("button", { name: /^Time range/ }).click();
    await page.getByRole("textbox", { name: "From" }).fill(from);
    await page.getByRole("button", { name: "Apply" }).click();
  };
  const isInLink = (time) => page.waitForURL((now) => now.searchParams.get("from") === time.toISOString().replace(".000Z", "Z"));
  await page.goto(link("/explore", { service: "shop", type: CPU }));
  await choose(typed);
  await isInLink(at);
  await page.evaluate(() => localStorage.setItem("everflame.zone", "utc"));
  await page.reload();
  await choose(at.toISOString().slice(0, 16));
  await isInLink(at);
  await page.getByRole("button", { name: new RegExp(`${at.toISOString().slice(11, 16)} UTC`) }).waitFor();
  await page.evaluate(() => localStorage.removeItem("everflame.zone"));
});

test("while another service is asked for, nothing of the old one is shown or saved", async () => {
  await page.goto(link("/explore", { service: "shop", type: CPU }));
  await total().filter({ hasText: "total 30 s" }).waitFor();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(/\/api\/v1\/flamegraph\?/, async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole("combobox", { name: "Service", exact: true }).selectOption("stock");
  await page.locator(".page-skeleton").waitFor();
  assert.equal(await page.getByRole("button", { name: "Export" }).count(), 0);
  release();
  await total().filter({ hasText: "total 18 s" }).waitFor();
  await page.unroute(/\/api\/v1\/flamegraph\?/);
});

test("while another range is asked for, what is shown is not saved under its name", async () => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(/\/api\/v1\/flamegraph\?/, async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole("button", { name: /^Time range/ }).click();
  await page.getByRole("button", { name: "6 h", exact: true }).click();
  await page.locator('.views[aria-busy="true"]').waitFor();
  assert.ok(await page.getByRole("button", { name: "Export" }).isDisabled());
  release();
  await page.locator('.views[aria-busy="false"]').waitFor();
  assert.ok(await page.getByRole("button", { name: "Export" }).isEnabled());
  await page.unroute(/\/api\/v1\/flamegraph\?/);
});

test("figures of services that could not be asked for are not said to be none", async () => {
  await page.route("**/SelectSeries", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"code":"unavailable","message":"busy"}' }));
  await page.goto(url);
  await page.getByRole("alert").getByText("busy").waitFor();
  await page.getByText("Not known: the server did not answer").first().waitFor();
  assert.equal(await page.getByText("Nothing measured in this range").count(), 0);
  await page.unroute("**/SelectSeries");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("img", { name: "CPU time over time" }).first().waitFor();
});

test("profiles that hold only zeros are not said to be none", async () => {
  await page.goto(link("/explore", { service: "idle", type: CPU }));
  await page.getByText("The profiles of this range add up to nothing.").waitFor();
  await page.goto(link("/explore", { service: "idle", type: CPU, labels: 'no="such"' }));
  await page.getByText("No profiles match.").waitFor();
});

test("the page of set-up says when the server refuses, until it does not", async () => {
  await page.route("**/Series", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"code":"unavailable","message":"busy"}' }));
  await page.goto(`${url}/setup`);
  await page.getByRole("alert").getByText("busy").waitFor();
  await page.unroute("**/Series");
  await page.getByText("Waiting for a new service.").waitFor();
});

test("a heatmap of profiles that all have one value can be chosen from", async () => {
  await page.goto(link("/heatmap", { service: "shop", type: CPU }));
  const map = page.getByRole("application");
  await map.locator("canvas").waitFor();
  await map.focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.getByText(/^[1-6] profiles?: /).waitFor();
  await total().waitFor();
});

test("nothing broke the policy or reached the console", () =>
  assert.deepEqual(session.faults.filter((fault) => !/status of 503/.test(fault)), []));
