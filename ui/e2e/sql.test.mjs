// Statements over what is stored. A server that was built without SQL is answered for here, in the form
// that docs/sql.md describes, so that the page is looked at either way.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

let session;
let page;
let url;
let built;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  await pushFolded(url, "alpha.cpu", "main;work 60\nmain;idle 10", 12);
  await pushFolded(url, "beta.cpu", "main;work 20", 3);
  const probe = await fetch(`${url}/api/v1/sql`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query: "SELECT 1" }) });
  built = probe.ok;
});
after(() => session?.close());

const result = () => page.getByRole("table", { name: "Result" });
const statement = () => page.getByRole("textbox", { name: "Statement" });

/** Answers as a server with SQL does: by service, by time, and 5,000 rows. */
async function standIn() {
  const types = { service: "varchar", profiles: "bigint", minute: "timestamp with time zone", cores: "double", value: "bigint" };
  const answerOf = (query) => {
    if (query.includes("nonsense")) return null;
    if (query.includes("minute")) return Array.from({ length: 30 }, (_, i) => ({ minute: new Date(Date.UTC(2026, 7, 1, 12, i)).toISOString(), cores: 1 + Math.sin(i / 4) }));
    if (query.includes("generate_series")) return Array.from({ length: 5000 }, (_, i) => ({ value: i + 1 }));
    return [{ service: "alpha", profiles: 12 }, { service: "beta", profiles: 3 }];
  };
  await page.route("**/api/v1/sql", (route) => {
    const rows = answerOf(route.request().postDataJSON().query);
    if (rows === null) return route.fulfill({ status: 400, json: { code: "invalid_argument", message: "the statement cannot be read: expected a statement, found nonsense" } });
    const columns = Object.keys(rows[0]).map((name) => ({ name, type: types[name] }));
    return route.fulfill({ json: { columns, rows, rowCount: rows.length, milliseconds: 4, scanned: { bytes: 10, files: 1, rows: 15 }, warnings: [] } });
  });
  await page.route("**/api/v1/sql/schema", (route) => route.fulfill({ json: { tables: [{ name: "profiles", kind: "table", description: "One profile a row.", columns: [{ name: "service", type: "varchar" }] }] } }));
}

test("a server without SQL says so", async () => {
  const absent = (route) => route.fulfill({ status: 501, json: { code: "unimplemented", message: "this build of the server has no SQL" } });
  await page.route("**/api/v1/sql**", absent);
  await page.goto(`${url}/sql`);
  await page.getByText("This server was built without SQL.").waitFor();
  session.faults.length = 0; // The browser remarks on the answer that it has none.
  await page.unroute("**/api/v1/sql**", absent);
  if (!built) await standIn();
});

test("a statement is run, and is part of the link", async () => {
  await page.goto(`${url}/sql`);
  await statement().fill("SELECT service, count(*) AS profiles FROM profiles GROUP BY service ORDER BY service");
  await statement().press("Control+Enter");
  await page.waitForURL(/\/sql\?.*q=SELECT/);
  await result().getByRole("row").filter({ hasText: "alpha" }).filter({ hasText: "12" }).waitFor();
  await page.getByRole("heading", { name: "2 rows" }).waitFor();
  await page.reload();
  await result().getByRole("cell", { name: "beta" }).waitFor();
});

test("a column sorts, the answer is saved as CSV", async () => {
  const first = () => result().getByRole("cell").first().innerText();
  assert.equal(await first(), "alpha");
  await result().getByRole("button", { name: "profiles" }).click();
  await result().getByRole("button", { name: "profiles" }).click();
  await page.waitForFunction(() => document.querySelector('[role="cell"]')?.textContent === "beta");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as CSV" }).click()]);
  assert.equal(await readFile(await download.path(), "utf8"), "service,profiles\r\nalpha,12\r\nbeta,3\r\n");
});

test("bars and lines", async () => {
  await page.getByRole("button", { name: "Chart" }).click();
  await page.waitForURL(/show=chart/);
  await page.getByRole("list", { name: "profiles by service" }).getByText("alpha").waitFor();
  const widths = await page.locator(".sql-bar > span").evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect().width));
  assert.ok(widths[0] > widths[1] * 3 && widths[1] > 0, widths.join());
  await statement().fill("SELECT date_trunc('minute', time) AS minute, sum(total) / 6e10 AS cores FROM profiles GROUP BY minute ORDER BY minute");
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.getByRole("img", { name: "cores by minute" }).locator("canvas").waitFor();
});

test("bars go to either side of zero, marks are whole, and a column without numbers says so", async () => {
  const answer = (types, rows) =>
    page.route("**/api/v1/sql", (route) =>
      route.fulfill({ json: { columns: Object.entries(types).map(([name, type]) => ({ name, type })), rows, rowCount: rows.length, milliseconds: 1, scanned: { bytes: 0, files: 0, rows: 0 }, warnings: [] } }),
    );
  const ask = async (statementOf) => {
    await statement().fill(statementOf);
    await page.getByRole("button", { name: /^Run/ }).click();
  };
  await answer({ name: "varchar", change: "double" }, [{ name: "more", change: 3 }, { name: "less", change: -1 }]);
  await ask("SELECT 1 AS bars");
  await page.getByRole("list", { name: "change by name" }).getByText("less").waitFor();
  const [more, less] = await page.locator(".sql-bar > span").evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect()));
  assert.ok(Math.abs(less.right - more.left) < 1 && more.width > less.width * 2.9, `${less.right} ${more.left}`);
  await page.unroute("**/api/v1/sql");
  await answer({ minute: "timestamp", empty: "double" }, [{ minute: "2026-08-01T12:00:00Z", empty: null }]);
  await ask("SELECT 2 AS nothing");
  await page.getByText("No row has a number in empty.").waitFor();
  await page.unroute("**/api/v1/sql");
  if (!built) await standIn();
});

test("of thousands of rows those in sight are there", async () => {
  await page.getByRole("button", { name: "Table" }).click();
  await statement().fill("SELECT value FROM generate_series(1, 5000)");
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.getByRole("heading", { name: "5,000 rows" }).waitFor();
  assert.ok((await result().getByRole("row").count()) < 60);
  await result().evaluate((table) => table.scrollTo(0, table.scrollHeight));
  await result().getByRole("cell", { name: "5000", exact: true }).waitFor();
});

test("a wrong statement is answered in the server's words", async () => {
  await statement().fill("nonsense");
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.getByRole("alert").getByText(/statement|nonsense/).first().waitFor();
  session.faults.splice(0, session.faults.length, ...session.faults.filter((fault) => !fault.includes("400")));
});

test("an example fills the page", async () => {
  await page.getByRole("combobox", { name: "Examples" }).selectOption("services");
  await result().getByRole("cell", { name: "alpha" }).waitFor();
});

test("a statement that is running says so, and can be stopped", async () => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const hold = async (route) => {
    await held;
    await route.fulfill({ json: { columns: [], rows: [], rowCount: 0, milliseconds: 1, scanned: { bytes: 0, files: 0, rows: 0 }, warnings: [] } }).catch(() => {});
  };
  await page.route("**/api/v1/sql", hold);
  await statement().fill("SELECT 3 AS slow");
  await page.getByRole("button", { name: /^Run/ }).click();
  await page.getByText("Running…").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped before it was answered.").waitFor();
  release();
  await page.unroute("**/api/v1/sql", hold);
});

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
