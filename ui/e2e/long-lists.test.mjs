// A thousand services, a graph of a hundred thousand nodes, and a server that restarts under an open page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser, rowColours } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const SERVICES = 1000;

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
});
after(() => session?.close());

test("a thousand services scroll, with a screenful of rows", async () => {
  const names = Array.from({ length: SERVICES }, (_, i) => `service-${String(i).padStart(4, "0")}`);
  for (let i = 0; i < names.length; i += 50) await Promise.all(names.slice(i, i + 50).map((name) => pushFolded(url, `${name}.cpu`, "main;work 10", 1)));
  await page.goto(url);
  await page.getByText("1,000 services").waitFor();
  await page.getByText("service-0000").waitFor();
  assert.ok((await page.locator(".service").count()) < 60);
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await page.getByText("service-0999").waitFor();
  assert.ok((await page.locator(".service").count()) < 60);
  await page.getByRole("searchbox").fill("0420$");
  await page.getByRole("link", { name: "service-0420", exact: true }).waitFor();
  assert.equal(await page.locator(".service").count(), 1);
  // A tenth of a second in a profile of ten, however coarse the steps are in which a thousand are asked for.
  await page.getByText("0.01 cores").waitFor();
});

test("a hundred thousand nodes are shown whole, and a table of as many functions scrolls", async () => {
  const lines = [];
  for (let i = 0; i < 300; i++) for (let k = 0; k < 335; k++) lines.push(`main;package${i}.f${i};package${i}.g${i}_${k} ${1 + ((i * k) % 7)}`);
  await pushFolded(url, "large.cpu", lines.join("\n"), 1);
  await page.goto(`${url}/explore?v=1&service=large&view=flame`);
  await page.locator('[data-nodes="100802"]').first().waitFor();
  await page.waitForFunction(() => document.querySelector(".flamegraph-canvas")?.width > 300);
  assert.ok((await rowColours(page, 2)).length > 20);
  await page.getByRole("button", { name: "Table", exact: true }).click();
  const body = page.locator(".top-body");
  await body.evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await page.waitForFunction(() => Number(document.querySelector(".top-body [role=row]:last-of-type")?.getAttribute("aria-rowindex")) > 100_000);
  assert.ok((await page.locator(".top-body [role=row]").count()) < 100);
});

test("a server that restarts under an open page is survived with a notice", async () => {
  await page.goto(`${url}/explore?v=1&service=large`);
  await page.getByRole("treeitem", { name: /^total/ }).waitFor();
  await session.server.halt();
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("The server cannot be reached. What you see is from before").waitFor();
  assert.ok(await page.getByRole("treeitem", { name: /^total/ }).count());
  await session.server.start();
  await page.getByText("The server is back.").waitFor();
  await page.getByText("The server is back.").waitFor({ state: "detached" });
  await page.getByRole("treeitem", { name: /^total/ }).waitFor();
  await page.getByRole("alert").first().waitFor({ state: "detached" });
  session.faults.length = 0;
});

test("a live page follows by itself", async () => {
  await page.goto(`${url}/explore?v=1&service=service-0001&from=now-15m&view=flame`);
  await page.getByRole("treeitem", { name: /^total, total 100 ms/ }).waitFor();
  await page.getByRole("button", { name: /Time range/ }).click();
  await page.getByRole("combobox", { name: "Refresh by itself" }).selectOption("5s");
  await page.keyboard.press("Escape");
  await pushFolded(url, "service-0001.cpu", "main;work 10", 3);
  await page.getByRole("treeitem", { name: /^total, total 400 ms/ }).waitFor();
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
