// "Which function got slower since the version before", as someone would click it, and files against
// files.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser, rowColours } from "./browser.mjs";

const stacks = (match) => `main;serve;parse 300\nmain;serve;tax.match ${match}\nmain;serve;render 200\nmain;gc 100`;

let session;
let page;

before(async () => {
  session = await openBrowser();
  page = session.page;
  const now = Math.floor(Date.now() / 10_000) * 10;
  for (let i = 60; i > 0; i--) {
    const isNew = i <= 30;
    const query = new URLSearchParams({ name: `shop.cpu{version=${isNew ? "2.0" : "1.9"},region=eu}`, format: "folded", from: String(now - i * 30), until: String(now - (i - 1) * 30), sampleRate: "100" });
    const response = await fetch(`${session.server.url}/ingest?${query}`, { method: "POST", body: stacks(isNew ? 400 : 100) });
    assert.ok(response.ok);
  }
});
after(() => session?.close());

const graph = () => page.getByRole("tree", { name: "Difference as a flame graph" });
const rows = () => page.getByRole("table", { name: "Functions by change" }).getByRole("row");

test("three clicks lead from the services to the function that got slower", async () => {
  await page.goto(session.server.url);
  await page.getByRole("link", { name: "shop", exact: true }).click();
  await page.getByRole("img", { name: /CPU time over time.*2\.0/ }).waitFor();
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByRole("button", { name: "With the version before" }).click();
  await page.waitForURL(/\/compare\?.*version%3D%221\.9%22.*version%3D%222\.0%22/);
  await rows().nth(1).filter({ hasText: "match" }).waitFor();
  await rows().nth(1).getByText("certain").waitFor();
  await graph().getByRole("treeitem", { name: /^total, before/ }).waitFor();
});

test("the totals stand there as they were measured", async () => {
  const sums = page.locator(".compare-sum");
  // 30 profiles of 7 s against 30 of 10 s.
  await sums.getByText("3.5 min").waitFor();
  await sums.getByText("5 min", { exact: true }).waitFor();
  await sums.getByText("+42.9 %").waitFor();
});

test("a version that has run for a part of the range is measured by the time it ran", async () => {
  const now = Math.floor(Date.now() / 10_000) * 10;
  for (let i = 60; i > 0; i--) {
    const isNew = i <= 12;
    const query = new URLSearchParams({ name: `deploy.cpu{version=${isNew ? "2.0" : "1.9"}}`, format: "folded", from: String(now - i * 30), until: String(now - (i - 1) * 30), sampleRate: "100" });
    const response = await fetch(`${session.server.url}/ingest?${query}`, { method: "POST", body: `main;work ${isNew ? 1450 : 1000}` });
    assert.ok(response.ok);
  }
  const comparison = page.url();
  await page.goto(`${session.server.url}/explore?v=1&service=deploy`);
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByRole("button", { name: "With the version before" }).click();
  await page.waitForURL(/\/compare\?/);
  const growth = page.locator(".compare-sum > strong");
  await growth.filter({ hasText: "+45 %" }).waitFor();
  assert.equal(await growth.getAttribute("class"), "more");
  await page.locator(".compare-sum").getByText("0.333 cores").waitFor();
  await page.getByRole("combobox", { name: "Compare" }).selectOption("time");
  await page.waitForURL(/norm=time/);
  await rows().filter({ hasText: "work" }).filter({ hasText: "+45 %" }).waitFor();
  await growth.filter({ hasText: "+45 %" }).waitFor();
  await page.goto(comparison);
  await rows().nth(1).filter({ hasText: "match" }).waitFor();
});

test("less is blue, more is orange, and the legend says so", async () => {
  await page.getByRole("img", { name: /change relative to before/ }).waitFor();
  const colours = (await rowColours(page, 3, "Difference as a flame graph")).map((colour) => colour.split(",").map(Number));
  assert.ok(colours.some(([r, , b]) => r > b + 60), "no orange");
  assert.ok(colours.some(([r, , b]) => b > r + 10), "no blue");
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByRole("combobox", { name: "Colours" }).selectOption("delta");
  await page.getByRole("img", { name: /change relative to the whole/ }).waitFor();
  await page.getByRole("button", { name: "Look" }).click();
});

test("a function of a comparison has a history, by what the sides differ in", async () => {
  await rows().nth(1).click({ button: "right" });
  await page.getByRole("menuitem", { name: "History of this function" }).click();
  await page.waitForURL(/\/function\?.*by=version/);
  await page.getByRole("img", { name: /Total.*1\.9/ }).waitFor();
  await page.goBack();
  await graph().getByRole("treeitem", { name: /^total, before/ }).waitFor();
});

test("sides are compared as shares, as values a second, and as they are", async () => {
  const growth = () => rows().filter({ hasText: "parse" }).getByRole("cell").nth(3).innerText();
  assert.match(await growth(), /^-30 %$/);
  await page.getByRole("combobox", { name: "Compare" }).selectOption("none");
  await page.waitForURL(/norm=none/);
  await rows().filter({ hasText: "parse" }).filter({ hasText: "±0 %" }).waitFor();
});

test("side by side, what is under the pointer in one is outlined in the other", async () => {
  await page.getByRole("button", { name: "Side by side" }).click();
  const left = page.getByRole("tree", { name: "Before" });
  const right = page.getByRole("tree", { name: "After" });
  await right.getByRole("treeitem", { name: /^total/ }).waitFor();
  const box = await left.boundingBox();
  await page.mouse.move(box.x + 30, box.y + 50);
  await right.locator(".flamegraph-outline:not([hidden])").waitFor();
});

test("swapping the sides and dragging a range are steps that go back", async () => {
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await rows().nth(1).filter({ hasText: "match" }).waitFor();
  await page.getByRole("button", { name: "Swap sides" }).click();
  await page.waitForURL(/labels1=version%3D%222\.0%22/);
  await page.goBack();
  await page.waitForURL(/labels1=version%3D%221\.9%22/);
  const box = await page.locator(".timeline .u-over").boundingBox();
  const before = new URL(page.url()).searchParams.get("from1");
  await page.mouse.move(box.x + box.width * 0.2, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction((old) => new URL(location.href).searchParams.get("from1") !== old, before);
  await page.goBack();
});

for (const [name, hours] of [["With yesterday", 24], ["With last week", 168]]) {
  test(`one click compares: ${name}`, async () => {
    await page.goto(`${session.server.url}/explore?v=1&service=shop`);
    await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("button", { name }).click();
    await page.waitForURL(/\/compare\?.*service1=shop.*service2=shop/);
    const params = new URL(page.url()).searchParams;
    assert.equal(Math.round((Date.parse(params.get("from2")) - Date.parse(params.get("from1"))) / 3_600_000), hours);
    await page.getByText(/Nothing was found for “Before”/).waitFor();
  });
}

test("links of Pyroscope's comparison still lead here", async () => {
  const side = (version) => `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="shop",version="${version}"}`;
  const query = new URLSearchParams({ leftQuery: side("1.9"), leftFrom: "now-1h", leftUntil: "now", rightQuery: side("2.0"), rightFrom: "now-1h", rightUntil: "now" });
  await page.goto(`${session.server.url}/comparison-diff?${query}`);
  await rows().nth(1).filter({ hasText: "match" }).waitFor();
});

test("two files are compared without being stored", async () => {
  await page.goto(`${session.server.url}/adhoc`);
  const file = (name, match) => ({ name, mimeType: "text/plain", buffer: Buffer.from(stacks(match)) });
  await page.locator("input[type=file]").setInputFiles([file("before.txt", 100), file("after.txt", 400)]);
  await rows().nth(1).filter({ hasText: "match" }).waitFor();
  await page.getByRole("button", { name: "Close the comparison" }).click();
  await page.getByRole("tree", { name: "Flame graph", exact: true }).getByRole("treeitem", { name: /^total, total 1 k/ }).waitFor();
  await page.locator("input[type=file]").setInputFiles([{ name: "x.pb", mimeType: "", buffer: Buffer.from([1, 2, 3]) }]);
  await page.getByRole("alert").getByText(/x\.pb: .*(pprof|wire type)/).waitFor();
  session.faults.splice(0, session.faults.length, ...session.faults.filter((fault) => !fault.includes("status of 400")));
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
