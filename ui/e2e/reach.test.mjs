// What fingers, keys and small windows reach.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

let session;
let page;
let url;

const link = (path, values = {}) => `${url}${path}?${new URLSearchParams({ v: "1", service: "shop", type: CPU, ...values })}`;
const total = () => page.getByRole("tree", { name: "Flame graph", exact: true }).getByRole("treeitem", { name: /^total/ });
const range = () => page.getByRole("button", { name: /^Time range/ });
const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");

before(async () => {
  session = await openBrowser({ hasTouch: true, acceptDownloads: true });
  ({ page } = session);
  ({ url } = session.server);
  const deep = `${Array.from({ length: 40 }, (_, i) => `level_${i}`).join(";")} 20`;
  await pushFolded(url, "shop.cpu{version=1}", `main;sell;${"a".repeat(40)}! 500\nmain;buy 100\n${deep}`, 30);
});
after(() => session?.close());

for (const width of [390, 700, 1400]) {
  test(`panels lie within a window of ${width} pixels`, async () => {
    await page.setViewportSize({ width, height: 844 });
    await page.goto(link("/explore", { from: "now-2d", until: new Date().toISOString().slice(0, 19) + "Z" }));
    await total().waitFor();
    for (const button of [range(), page.getByRole("button", { name: /Local time|UTC/ }), ...["Look", "Export", "Compare"].map((name) => page.getByRole("button", { name, exact: true }))]) {
      await button.click();
      const box = await page.locator(".range-panel, .popover-panel").boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= width, `${await button.textContent()}: ${box.x} to ${box.x + box.width}`);
      await page.keyboard.press("Escape");
      await page.locator(".range-panel, .popover-panel").waitFor({ state: "detached" });
    }
  });
}

test("the palette opens without a keyboard in a narrow window", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("button", { name: "Go to…" }).tap();
  await page.getByRole("combobox", { name: "Go to a page, a service or a setting" }).fill("status");
  await page.getByRole("option", { name: "Status" }).tap();
  await page.waitForURL(/\/status/);
});

test("a finger chooses a part of the timeline", async () => {
  await page.goto(link("/explore"));
  await page.locator(".timeline canvas").waitFor();
  const box = await page.locator(".u-over").boundingBox();
  const cdp = await session.context.newCDPSession(page);
  const touch = (type, x) => cdp.send("Input.dispatchTouchEvent", { type, touchPoints: x === undefined ? [] : [{ x: box.x + box.width * x, y: box.y + 40 }] });
  await touch("touchStart", 0.3);
  for (const x of [0.4, 0.5, 0.6, 0.7]) await touch("touchMove", x);
  await touch("touchEnd");
  await page.waitForURL((now) => {
    const [from, until] = ["from", "until"].map((name) => Number(now.searchParams.get(name)));
    return until - from > 1_200_000 && until - from < 1_700_000;
  });
});

test("a finger that goes up after a long press chooses nothing of the menu that came up", async () => {
  await page.goto(link("/explore"));
  await total().waitFor();
  const flame = page.getByRole("tree", { name: "Flame graph", exact: true });
  await flame.scrollIntoViewIfNeeded();
  const box = await flame.boundingBox();
  const cdp = await session.context.newCDPSession(page);
  await cdp.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x: box.x + 100, y: box.y + 50 }] });
  await page.getByRole("menu").waitFor();
  await cdp.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  // What the browser made of it has come when it has drawn twice.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  assert.equal(await page.getByRole("menu").count(), 1);
  await page.getByRole("menuitem", { name: "Show callers and callees" }).tap();
  await page.waitForURL(/view=sandwich/);
});

test("pictures are of all graphs, and offered where there are any", async () => {
  await page.setViewportSize({ width: 1400, height: 900 });
  const png = page.getByRole("button", { name: "Save as PNG" });
  for (const view of ["table", "tree", "source"]) {
    await page.goto(link("/explore", { view }));
    await page.getByRole("button", { name: "Export" }).click();
    await page.getByRole("button", { name: "Save as SVG" }).waitFor();
    assert.equal(await png.count(), 0, view);
  }
  const heightIn = async (view) => {
    await page.goto(link("/explore", { view }));
    await page.locator(".flamegraph-canvas").last().waitFor();
    await page.getByRole("button", { name: "Export" }).click();
    const [download] = await Promise.all([page.waitForEvent("download"), png.click()]);
    const height = (await readFile(await download.path())).readUInt32BE(20);
    const boxes = await Promise.all((await page.locator(".flamegraph-canvas").all()).map((canvas) => canvas.boundingBox()));
    assert.equal(height, Math.round(Math.max(...boxes.map(({ y, height }) => y + height)) - Math.min(...boxes.map(({ y }) => y))), view);
    return boxes.length;
  };
  assert.deepEqual([await heightIn("flame"), await heightIn("sandwich")], [1, 2]);
});

test("the focus stays where it was when a panel closes or a filter comes and goes", async () => {
  await page.goto(link("/explore"));
  await total().waitFor();
  await range().focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  assert.match(await focused(), /^Time range: Last 1 h/);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "6 h", exact: true }).press("Enter");
  await page.waitForURL(/now-6h/);
  assert.match(await focused(), /^Time range: Last 6 h/);
  const add = page.getByRole("button", { name: "Filter by label" });
  await add.press("Enter");
  await page.getByRole("combobox", { name: "Label" }).fill("version");
  await page.getByRole("combobox", { name: "Value" }).fill("1");
  await page.getByRole("combobox", { name: "Value" }).press("Enter");
  await page.getByRole("button", { name: /Remove the filter/ }).waitFor();
  assert.match(await focused(), /Filter by label/);
  await page.getByRole("button", { name: /Remove the filter/ }).press("Enter");
  await page.getByRole("button", { name: /Remove the filter/ }).waitFor({ state: "detached" });
  assert.match(await focused(), /Filter by label/);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Cancel" }).press("Enter");
  assert.match(await focused(), /Filter by label/);
});

test("Enter that ends what an input method composes chooses nothing", async () => {
  const compose = (field) => field.evaluate((element) => element.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, isComposing: true })));
  const before = page.url();
  await page.keyboard.press("Control+k");
  const palette = page.getByRole("combobox", { name: "Go to a page, a service or a setting" });
  await palette.fill("status");
  await compose(palette);
  assert.ok(await palette.isVisible());
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Filter by label" }).press("Enter");
  await page.getByRole("combobox", { name: "Label" }).fill("version");
  const value = page.getByRole("combobox", { name: "Value" });
  await value.fill("1");
  await compose(value);
  assert.ok(await value.isVisible());
  assert.equal(page.url(), before);
  await page.getByRole("button", { name: "Cancel" }).click();
});

test("no pattern stops the page", async () => {
  for (const search of ["(a+)+$", "(.*)*(.*)*(.*)*x{50}"]) {
    await page.goto(link("/explore", { search }));
    await page.getByText("No function matches").waitFor();
  }
  await page.goto(link("/explore", { search: "(a+)+!$" }));
  await page.getByText(/^1 function, /).waitFor();
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
