// Takes a picture of every page and state of a running server: node dev/screenshots.mjs URL FOLDER

import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium.mjs";

const [server = "http://127.0.0.1:4099", folder = "screenshots"] = process.argv.slice(2);
const PAGES = {
  services: "/",
  explore: "/explore?v=1&service=shop",
  search: "/explore?v=1&service=shop&search=http",
  memory: "/explore?v=1&service=shop&type=memory%3Ainuse_space%3Abytes%3Aspace%3Abytes&view=flame",
  huge: "/explore?v=1&service=huge",
  hostile: "/explore?v=1&service=hostile",
  negative: "/explore?v=1&service=leaky",
  broken: "/explore?v=1&service=broken",
  nothing: "/explore?v=1&service=nobody&type=process_cpu:cpu:nanoseconds:cpu:nanoseconds",
};

await mkdir(folder, { recursive: true });
const browser = await chromium.launch(CHROMIUM);
for (const [look, options] of Object.entries({
  light: { colorScheme: "light", viewport: { width: 1600, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1600, height: 900 } },
  narrow: { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
})) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.error(look, message.text()));
  page.on("pageerror", (error) => console.error(look, error.message));
  for (const [name, path] of Object.entries(PAGES)) {
    await page.goto(server + path, { waitUntil: "networkidle" });
    await page.screenshot({ path: `${folder}/${name}-${look}.png`, fullPage: look === "narrow" });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (overflow > 0) console.error(`${name} ${look}: ${overflow} px too wide`);
  }
  await context.close();
}
await browser.close();
