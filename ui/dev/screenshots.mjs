// Takes a picture of every page in both themes and at 390 px, from a server of its own with made-up data;
// those that the README and the guide show go into docs/images, all into ui/screenshots.
//
//   EVERFLAME_BIN=../target/release/everflame node dev/screenshots.mjs

import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium.mjs";
import { makeRepository } from "../e2e/repository.mjs";
import { startServer } from "../e2e/server.mjs";
import { FILES } from "./demo-code.mjs";
import { sendDemo } from "./demo-data.mjs";

const CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SIDES = new URLSearchParams({ type: CPU, service1: "checkout", labels1: 'version="1.4.2"', service2: "checkout", labels2: 'version="1.5.0"' });
/** `fn` of a link is hashName of src/profile/path.ts: this is tax.(*Rules).match. */
const PAGES = {
  services: "/",
  explore: "/explore?v=1&service=checkout&by=version",
  sandwich: "/explore?v=1&service=checkout&view=sandwich",
  "call-tree": "/explore?v=1&service=checkout&view=tree",
  source: "/explore?v=1&service=checkout&view=source&fn=fa4pnu",
  compare: `/compare?v=1&${SIDES}`,
  "side-by-side": `/compare?v=1&${SIDES}&layout=sides`,
  labels: "/labels?v=1&service=checkout",
  heatmap: "/heatmap?v=1&service=checkout",
  function: "/function?v=1&service=checkout&name=regexp.(*Regexp).doExecute&by=version",
  adhoc: "/adhoc",
  sql: "/sql",
  status: "/status",
  setup: "/setup",
};
const LOOKS = {
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  light: { colorScheme: "light", viewport: { width: 1280, height: 800 } },
  narrow: { colorScheme: "light", viewport: { width: 390, height: 844 } },
};
/** Shown in the documentation, together under 1 MB. */
const CHOSEN = ["services-dark", "explore-dark", "sandwich-dark", "compare-dark", "labels-light", "function-light", "source-light", "explore-narrow", "compare-narrow"];

const folder = fileURLToPath(new URL("../screenshots/", import.meta.url));
const images = fileURLToPath(new URL("../../docs/images/", import.meta.url));
await mkdir(folder, { recursive: true });
const repository = await makeRepository(FILES, "v1.5.0");
const server = await startServer(["--source-code", `{service_name="checkout"} git=${repository.path} strip=/src/shop`]);
const browser = await chromium.launch(CHROMIUM);
let faults = 0;
const fault = (text) => {
  faults++;
  console.error(text);
};
try {
  await sendDemo(server.url);
  // The status page tells what is in tables.
  await fetch(`${server.url}/api/v1/lake/compact`, { method: "POST" });
  for (const [look, options] of Object.entries(LOOKS)) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && fault(`${look}: ${message.text()}`));
    page.on("pageerror", (error) => fault(`${look}: ${error.message}`));
    for (const [name, path] of Object.entries(PAGES)) {
      await page.goto(server.url + path, { waitUntil: "networkidle" });
      await page.locator(".skeleton").first().waitFor({ state: "detached" });
      const file = `${name}-${look}`;
      await page.screenshot({ path: `${folder}${file}.png`, animations: "disabled", fullPage: !CHOSEN.includes(file) });
      if (CHOSEN.includes(file)) await copyFile(`${folder}${file}.png`, `${images}${file}.png`);
      if ((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) > 0) fault(`${file} is too wide`);
    }
    await context.close();
  }
} finally {
  await browser.close();
  await server.stop();
  await repository.remove();
}
if (faults > 0) process.exitCode = 1;
else console.log(`pictures in ${folder}`);
