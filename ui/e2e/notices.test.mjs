// What a page says when an answer is not all there is: folded parts, files that could not be read, refusals;
// and what it costs to open.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const MOST_SCRIPT_BYTES = 250_000;

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  const small = Array.from({ length: 40 }, (_, i) => `main;handle;rare_${i};deeper_${i} 1`);
  await pushFolded(url, "folding.cpu{region=eu}", ["main;handle;hot 500", ...small].join("\n"), 6);
});
after(() => session?.close());

test("a folded part is opened by asking again", async () => {
  // A graph of a million nodes would be truncated; here the server is asked for less.
  await page.route(/\/api\/v1\/flamegraph\?/, (route) => route.continue({ url: `${route.request().url()}&max-nodes=8` }));
  await page.goto(`${url}/explore?v=1&service=folding`);
  await page.getByText(/is folded away in nodes too small to be sent/).waitFor();
  const flame = page.getByRole("tree", { name: "Flame graph", exact: true });
  await flame.getByRole("treeitem", { name: /^total/ }).waitFor();
  assert.equal(await flame.getByRole("treeitem", { name: /^rare_39,/ }).count(), 0);
  await flame.focus();
  for (const key of ["Home", "ArrowDown", "ArrowDown", "ArrowDown"]) await page.keyboard.press(key);
  for (let i = 0; i < 12 && !/^folded/.test((await flame.locator('[aria-selected="true"]').last().textContent().catch(() => "")) ?? ""); i++) await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Shift+F10");
  await page.getByRole("menuitem", { name: "Open the folded part" }).click();
  await page.getByText("Only what handle calls is shown.").waitFor();
  await page.getByText("83 functions").waitFor();
  await page.getByRole("button", { name: "Show everything" }).click();
  await page.getByText(/is folded away/).waitFor();
  await page.unroute(/\/api\/v1\/flamegraph\?/);
});

test("an answer that is not whole says what is missing", async () => {
  await page.route(/\/api\/v1\/flamegraph\?/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), "x-everflame-partial": "1 file of 4 could not be read: <img src=x>" } });
  });
  await page.goto(`${url}/explore?v=1&service=folding&from=now-2h`);
  await page.getByRole("status").filter({ hasText: "The answer is not whole" }).getByText("1 file of 4 could not be read: <img src=x>").waitFor();
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
  await page.unroute(/\/api\/v1\/flamegraph\?/);
});

test("a refusal comes with the server's words and the request's id", async () => {
  const refused = page.waitForResponse((response) => response.status() === 400 && response.url().includes("flamegraph"));
  await page.goto(`${url}/explore?v=1&service=folding&type=process_cpu:cpu:nanoseconds:cpu:nanoseconds&labels=region%3D~%22(%22`);
  const response = await refused;
  const { message } = await response.json();
  const id = response.headers()["x-request-id"];
  assert.ok(id);
  const alert = page.getByRole("alert").filter({ hasText: id });
  await alert.getByText(message).waitFor();
  await alert.getByRole("button", { name: "Try again" }).waitFor();
});

test("values of labels are suggested with how many series have them", async () => {
  await page.goto(`${url}/explore?v=1&service=folding`);
  await page.getByRole("button", { name: "Filter by label" }).click();
  await page.getByRole("combobox", { name: "Label" }).fill("region");
  await page.getByRole("combobox", { name: "Value" }).click();
  await page.getByRole("option", { name: "eu" }).getByText("1 series").waitFor();
});

test("opening a page needs less than 250 KB of packed script", async () => {
  const scripts = [];
  const take = async (response) => {
    if (response.url().endsWith(".js")) scripts.push(response.body());
  };
  page.on("response", take);
  await page.goto(url, { waitUntil: "networkidle" });
  page.off("response", take);
  const bytes = (await Promise.all(scripts)).reduce((sum, body) => sum + gzipSync(body).length, 0);
  assert.ok(bytes > 10_000 && bytes < MOST_SCRIPT_BYTES, `${bytes} bytes`);
});

test("nothing broke the policy or reached the console", () =>
  // The refusals are what the browser itself reports.
  assert.deepEqual(session.faults.filter((fault) => !/status of 400/.test(fault)), []));
