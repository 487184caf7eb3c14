// A page of the server under test, and everything that goes wrong on it.

import { chromium } from "playwright-core";
import { CHROMIUM } from "./chromium.mjs";
import { startServer } from "./server.mjs";

/** `faults` collects console errors, dialogs, and requests that leave the server. */
export async function openBrowser(options = {}, args = []) {
  const server = await startServer(args);
  const browser = await chromium.launch(CHROMIUM);
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on("console", (message) => {
    // The tests read canvases back, which Chromium remarks on.
    const own = message.text().startsWith("Canvas2D: Multiple readback");
    if (["error", "warning"].includes(message.type()) && !own) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== new URL(server.url).origin) faults.push(`a request left the server: ${request.url()}`);
  });
  return {
    server,
    context,
    page,
    faults,
    close: async () => {
      await browser.close();
      await server.stop();
    },
  };
}

/** The colours in one row of the flame graph's canvas, `row` levels from the top. */
export function rowColours(page, row, name = "Flame graph") {
  return page
    .getByRole("tree", { name, exact: true })
    .locator("canvas")
    .evaluate(async (canvas, at) => {
      // What the page has decided to paint is painted before the next frame asks for more.
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const ratio = window.devicePixelRatio;
      const { data } = canvas.getContext("2d").getImageData(0, Math.round((at * 20 + 1) * ratio), canvas.width, 1);
      const colours = [];
      for (let i = 0; i < data.length; i += 4) {
        const colour = `${data[i]},${data[i + 1]},${data[i + 2]}`;
        if (colours.at(-1) !== colour) colours.push(colour);
      }
      return colours;
    }, row);
}
