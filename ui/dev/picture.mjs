// Takes the README's picture from a running server: node dev/picture.mjs URL ../docs/images/explore.png

import { chromium } from "playwright-core";
import { CHROMIUM } from "../e2e/chromium.mjs";

const [url, file] = process.argv.slice(2);
const browser = await chromium.launch(CHROMIUM);
const page = await browser.newPage({ viewport: { width: 1400, height: 860 }, colorScheme: "dark" });
await page.goto(url);
await page.locator(".flamegraph-canvas").waitFor();
await page.locator(".timeline canvas").waitFor();
await page.waitForLoadState("networkidle");
await page.screenshot({ path: file });
await browser.close();
