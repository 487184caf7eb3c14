// Who leaves a page has left it, whatever it was doing: the back button leads to the page before, and
// nothing that ends late leads the reader away again.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  for (const service of ["alpha", "beta"]) await pushFolded(url, `${service}.cpu{region=eu}`, "main;work 5", 3);
});
after(() => session?.close());

const ASKING = ["Explore", "Compare", "Labels", "Heatmap"];

const isAtServices = async (page) => {
  await page.getByText("2 services").waitFor();
  const { pathname, search } = new URL(page.url());
  assert.equal(pathname + search, "/");
};

for (const name of ASKING) {
  test(`back from ${name} that was loaded anew`, async () => {
    await page.goto(url);
    await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
    await page.waitForURL(/type=process_cpu/);
    await page.reload();
    await page.getByRole("option", { name: "beta" }).first().waitFor({ state: "attached" });
    await page.goBack();
    await isAtServices(page);
  });

  test(`back from ${name} at the moment when its answers come`, async () => {
    const context = await session.context.browser().newContext();
    const page = await context.newPage();
    // Before the pages listen themselves.
    await page.addInitScript(() => {
      const { json } = Response.prototype;
      const gone = new Promise((resolve) => window.addEventListener("popstate", resolve));
      Response.prototype.json = async function () {
        const answer = await json.call(this);
        if (location.pathname !== "/") {
          window.answerIsHeld = true;
          await gone;
        }
        return answer;
      };
    });
    await page.goto(url);
    await isAtServices(page);
    await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
    await page.waitForFunction(() => window.answerIsHeld);
    await page.goBack();
    await isAtServices(page);
    await context.close();
  });
}

test("a file that is stored late leads nobody away", async () => {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route("**/ingest?*", async (route) => {
    await released;
    await route.continue();
  });
  await page.goto(`${url}/adhoc`);
  await page.locator("input[type=file]").setInputFiles([{ name: "late.txt", mimeType: "", buffer: Buffer.from("a;b 30\n") }]);
  const stored = page.waitForResponse((response) => response.url().includes("/ingest?"));
  await page.getByRole("button", { name: "Store on the server" }).click();
  await page.getByRole("navigation").getByRole("link", { name: "Status", exact: true }).click();
  await page.waitForURL(`${url}/status`);
  release();
  await stored;
  // The page has that answer before it has this one.
  await page.evaluate(async () => (await fetch("/ready")).ok);
  assert.equal(new URL(page.url()).pathname, "/status");
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
