// The flame graph as it stands on the screen: pixels, menus, keyboard, and names that want to be more than
// names.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cpuPprof } from "../dev/pprof.mjs";
import { openBrowser, rowColours } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";
const LONG = `std::map<${"x".repeat(4980)}>::find`;
const RIGHT_TO_LEFT = "שלום.עולם";
const COMBINING = "e\u0301\u0301\u0301.naïve";
const FOLDED = [
  "main.main;net/http.(*conn).serve;github.com/acme/shop/cart.(*Cart).Total;runtime.mallocgc 30",
  "main.main;net/http.(*conn).serve;github.com/acme/shop/cart.(*Cart).Total 20",
  "main.main;walk;walk;walk;runtime.mallocgc 20",
  `main.main;${MARKUP} 10`,
  `main.main;${LONG} 8`,
  `main.main;${RIGHT_TO_LEFT};${COMBINING} 12`,
].join("\n");

let session;
let page;

before(async () => {
  session = await openBrowser({ permissions: ["clipboard-read", "clipboard-write"] });
  page = session.page;
  await pushFolded(session.server.url, "graph.cpu", FOLDED, 6);
});
after(() => session?.close());

const open = async (more = "") => {
  await page.goto(`${session.server.url}/explore?v=1&service=graph&view=flame${more}`);
  await item(/^total/).waitFor();
  await page.waitForFunction(() => document.querySelector(".flamegraph-canvas")?.width > 300);
  await page.waitForFunction(() => {
    const canvas = document.querySelector(".flamegraph-canvas");
    const { data } = canvas.getContext("2d").getImageData(4, 4, 1, 1);
    return data[3] === 255 && data[0] + data[1] + data[2] > 0;
  });
};
const flame = () => page.getByRole("tree", { name: "Flame graph", exact: true });
const item = (name) => flame().getByRole("treeitem", { name });
const keys = async (...all) => {
  await flame().focus();
  for (const key of all) await page.keyboard.press(key);
};
const menuOf = async (...way) => {
  await keys("Home", ...way, "Shift+F10");
  await page.getByRole("menu").waitFor();
};
/** The browser writes to the clipboard in its own time. */
const copied = (text) => page.waitForFunction(async (wanted) => (await navigator.clipboard.readText()) === wanted, text);
const choose = (name) => page.getByRole("menuitem", { name }).click();

test("the canvas is as large as its place on the screen, to the device pixel", async () => {
  await open();
  const sizes = await flame().locator("canvas").evaluate((canvas) => {
    const box = canvas.getBoundingClientRect();
    return { width: canvas.width, height: canvas.height, wanted: [Math.round(box.width * devicePixelRatio), Math.round(box.height * devicePixelRatio)], viewport: innerHeight };
  });
  assert.deepEqual([sizes.width, sizes.height], sizes.wanted);
  assert.ok(sizes.height <= sizes.viewport);
});

test("libraries have colours of their own, and own shares another scale", async () => {
  await open();
  const byPackage = await rowColours(page, 2);
  assert.ok(new Set(byPackage).size > 2, `only ${byPackage}`);
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByRole("combobox", { name: "Colours" }).selectOption("self");
  await page.waitForURL(/colors=self/);
  await page.getByRole("img", { name: "a frame's own share" }).waitFor();
  await page.waitForFunction(() => document.querySelector(".flamegraph-canvas"));
  assert.notDeepEqual(await rowColours(page, 2), byPackage);
});

test("the root may stand at the bottom", async () => {
  await open("&grows=flame");
  const height = await flame().locator("canvas").evaluate((canvas) => canvas.clientHeight);
  const bottom = await rowColours(page, height / 20 - 1);
  assert.ok(bottom.length <= 3 || new Set(bottom).size <= 4, `the lowest row is not the root: ${bottom.length} colours`);
  const box = await flame().boundingBox();
  await page.mouse.move(box.x + 20, box.y + box.height - 30);
  await page.locator(".flamegraph-tooltip-name").getByText("main", { exact: true }).waitFor();
});

test("hidden stacks leave the total, merged functions go to their callers, each with a way back", async () => {
  await open();
  await menuOf("ArrowDown", "ArrowDown");
  await choose("Hide its stacks");
  await item(/^total, total 3 s/).waitFor();
  await page.getByRole("button", { name: /^Undo Hidden/ }).click();
  await item(/^total, total 6 s/).waitFor();
  await page.getByRole("tree").first().focus();
  await menuOf("ArrowDown", "ArrowDown");
  await choose("Merge into its callers");
  await keys("Home", "ArrowDown", "ArrowDown");
  await item(/\(\*Cart\)\.Total, total 3 s/).waitFor();
  assert.match(page.url(), /merge=/);
  await page.reload();
  await page.getByText("Merged: (*conn).serve").waitFor();
  await page.getByRole("button", { name: "Undo all" }).click();
  await item(/^total, total 6 s/).waitFor();
});

test("a focus keeps the stacks of one function, recursion collapses, packages are groups", async () => {
  await open("&search=");
  await menuOf("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown");
  await choose("Focus on this function");
  await item(/^total, total 3 s/).waitFor();
  await page.getByRole("button", { name: "Undo all" }).click();
  const depth = () => page.locator("[data-nodes]").first().getAttribute("data-nodes");
  const before = Number(await depth());
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByRole("checkbox", { name: "Collapse recursion" }).check();
  await page.waitForURL(/recursion=collapse/);
  assert.equal(Number(await depth()), before - 2);
  await page.getByRole("combobox", { name: "Group by" }).selectOption("package");
  await page.getByText("Grouped: Package or module").waitFor();
  await keys("Home", "ArrowDown", "ArrowDown");
  await item(/^net\/http, total 3 s/).waitFor();
  await page.getByRole("button", { name: "Look" }).click();
});

test("wheel and drag move the graph, the map shows where", async () => {
  await open();
  const box = await flame().boundingBox();
  const before = await rowColours(page, 2);
  await page.mouse.move(box.x + 40, box.y + 50);
  await page.keyboard.down("Control");
  for (let i = 0; i < 6; i++) await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  await page.waitForFunction(
    (old) => {
      const canvas = document.querySelector(".flamegraph-canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 41, canvas.width, 1);
      const colours = new Set();
      for (let i = 0; i < data.length; i += 4) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
      return colours.size < old;
    },
    new Set(before).size,
  );
  await page.mouse.down();
  await page.mouse.move(box.x + 300, box.y + 60, { steps: 4 });
  await page.mouse.up();
  assert.equal(new URL(page.url()).searchParams.get("zoom"), null, "a drag is no click");
  assert.equal(await page.getByRole("button", { name: "Reset zoom" }).count(), 0);
});

test("a deep graph has a map, which says what is in sight and leads elsewhere", async () => {
  const deep = Array.from({ length: 90 }, (_, i) => `level_${i}`).join(";");
  await pushFolded(session.server.url, "deep.cpu", [`main;${deep} 500`, ...Array.from({ length: 600 }, (_, i) => `main;shallow_${i} 1`)].join("\n"), 1);
  await page.goto(`${session.server.url}/explore?v=1&service=deep&view=flame`);
  await item(/^total/).waitFor();
  const frame = page.locator(".minimap-window");
  await frame.waitFor();
  const before = await frame.boundingBox();
  const map = await frame.locator("..").boundingBox();
  assert.ok(before.height < map.height * 0.8, `${before.height} of ${map.height} in sight`);
  const top = await rowColours(page, 2);
  await page.mouse.move(map.x + map.width / 2, map.y + map.height - 2);
  await page.mouse.down();
  await page.mouse.up();
  await page.waitForFunction((y) => document.querySelector(".minimap-window").getBoundingClientRect().y > y, before.y + 2);
  assert.notDeepEqual(await rowColours(page, 2), top);
});

test("functions are grouped by the file they are in", async () => {
  const now = Math.floor(Date.now() / 1000);
  const main = { name: "main.main", file: "/src/cmd/main.go", line: 3 };
  const body = cpuPprof([{ stack: [main, { name: "shop.Total", file: "/src/shop/cart.go", line: 8 }], value: 6e9 }, { stack: [main], value: 2e9 }], now - 20, 10);
  const query = new URLSearchParams({ name: "filed", format: "pprof", from: String(now - 20), until: String(now - 10) });
  assert.ok((await fetch(`${session.server.url}/ingest?${query}`, { method: "POST", body })).ok);
  await page.goto(`${session.server.url}/explore?v=1&service=filed&view=table&group=file`);
  const rows = page.getByRole("table", { name: "Functions" }).getByRole("row");
  await rows.filter({ hasText: "cart.go" }).getByText("6 s").first().waitFor();
  await rows.filter({ hasText: "main.go" }).getByText("8 s").first().waitFor();
});

test("a frame without a name says its module and where in it it is", async () => {
  const now = Math.floor(Date.now() / 1000);
  const module = { file: `/usr/lib/${MARKUP}.so.6`, start: 0xffff_ffff_8000_0000n, limit: 0xffff_ffff_8100_0000n, offset: 0x1000n };
  const stack = [{ name: "main" }, { address: 0xffff_ffff_8000_0123n, module }];
  const body = cpuPprof([{ stack, value: 6e9 }], now - 20, 10);
  const query = new URLSearchParams({ name: "unnamed", format: "pprof", from: String(now - 20), until: String(now - 10) });
  assert.ok((await fetch(`${session.server.url}/ingest?${query}`, { method: "POST", body })).ok);
  await page.goto(`${session.server.url}/explore?v=1&service=unnamed&view=both`);
  const row = page.getByRole("table", { name: "Functions" }).getByRole("row").filter({ hasText: "0xffffffff80000123" });
  await row.getByText(`${MARKUP}.so.6+0x1123`).waitFor();
  const box = await flame().boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 50);
  const tooltip = page.locator(".flamegraph-tooltip");
  await tooltip.getByText("0xffffffff80000123", { exact: true }).waitFor();
  await tooltip.getByText(`${MARKUP}.so.6+0x1123`, { exact: true }).waitFor();
  await page.goto(`${session.server.url}/explore?v=1&service=unnamed&view=sandwich`);
  await page.locator(".sandwich-middle").getByText(`${MARKUP}.so.6+0x1123`).waitFor();
});

test("names and stacks are copied", async () => {
  await open();
  await menuOf("ArrowDown", "ArrowDown");
  await choose("Copy name");
  await copied("net/http.(*conn).serve");
  await menuOf("ArrowDown", "ArrowDown");
  await choose("Copy stack");
  await copied("main.main\nnet/http.(*conn).serve");
});

test("names are text in tooltip, menu, table, title and picture", async () => {
  await open(`&search=${encodeURIComponent("<img|^std|שלום")}`);
  await page.getByText(/3 functions, 30 % of total/).waitFor();
  await page.getByRole("button", { name: "Table", exact: true }).click();
  const rows = page.getByRole("table", { name: "Functions" }).getByRole("row");
  await rows.filter({ hasText: MARKUP }).waitFor();
  await rows.filter({ hasText: "שלום" }).waitFor();
  await rows.filter({ hasText: MARKUP }).click({ button: "right" });
  await page.getByRole("menu", { name: MARKUP }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("searchbox").fill("");
  await rows.filter({ hasText: COMBINING.split(".")[0] }).waitFor();
  await page.getByRole("button", { name: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as SVG" }).click()]);
  const { readFile } = await import("node:fs/promises");
  const svg = await readFile(await download.path(), "utf8");
  assert.ok(svg.includes("&#60;img src=x onerror=alert(1)&#62;") && !svg.includes("<img"));
  assert.ok(svg.includes(RIGHT_TO_LEFT));
  assert.equal(await page.locator("img[src=x]").count(), 0);
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "a long name makes the page too wide");
});

for (const [form, pattern] of [
  ["Folded", /main\.main;walk;walk;walk;runtime\.mallocgc 1200000000/],
  ["Speedscope", /"\$schema":"https:\/\/www\.speedscope\.app/],
  ["CSV", /^function,self \(nanoseconds\)/],
]) {
  test(`the graph is saved as ${form}`, async () => {
    await open();
    await page.getByRole("button", { name: "Export" }).click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: `Save as ${form}` }).click()]);
    const { readFile } = await import("node:fs/promises");
    assert.match(await readFile(await download.path(), "utf8"), pattern);
  });
}

test("one selection drives the sandwich, the call tree and the table", async () => {
  await open();
  await page.getByRole("button", { name: "Sandwich" }).click();
  const rows = page.getByRole("table", { name: "Functions" }).getByRole("row");
  await rows.filter({ hasText: "mallocgc" }).getByRole("button").click();
  const callers = page.getByRole("tree", { name: "Callers of mallocgc" });
  await callers.getByRole("treeitem", { name: /mallocgc, total 3 s, 100 %/ }).waitFor();
  await callers.getByRole("treeitem", { name: /Total, total 1\.8 s, 60 %/ }).waitFor();
  await page.getByRole("tree", { name: "Callees of mallocgc" }).waitFor();
  await page.getByRole("button", { name: "Call tree" }).click();
  await page.getByRole("tree", { name: "Call tree" }).locator('[aria-selected="true"]').first().waitFor();
  await page.reload();
  await page.getByRole("tree", { name: "Call tree" }).locator('[aria-selected="true"]').first().waitFor();
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await rows.getByRole("button", { name: "mallocgc", pressed: true }).waitFor();
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
