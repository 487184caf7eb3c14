// The source code of a function, with what each line used beside it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { cpuPprof } from "../dev/pprof.mjs";
import { openBrowser } from "./browser.mjs";
import { makeRepository } from "./repository.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FILE = "/build/internal/tax/rules.go";
const HOSTILE = "<img src=x onerror=alert(1)>";
const LINES = [
  "package tax",
  "",
  "// Apply adds the taxes of a cart.",
  "func (r *Rules) Apply(c *Cart) {",
  "\tfor _, item := range c.Items {",
  "\t\tr.match(item)",
  "\t}",
  "}",
  "",
  "func (r *Rules) match(item Item) bool {",
  `\tprintln("${HOSTILE}")`,
  "\treturn r.pattern.MatchString(item.Name)",
  "}",
  ...Array.from({ length: 400 }, (_, i) => `// line ${i + 14}`),
];

let session;
let page;
let url;
let repository;

before(async () => {
  repository = await makeRepository({ "internal/tax/rules.go": `${LINES.join("\n")}\n` }, "v1.5.0");
  session = await openBrowser({}, ["--source-code", `{service_name="checkout"} git=${repository.path}`]);
  ({ page } = session);
  ({ url } = session.server);
  const main = { name: "main.main", file: "/build/main.go", line: 9 };
  const apply = { name: "shop/tax.(*Rules).Apply", file: FILE, line: 6 };
  const match = (line) => ({ name: "shop/tax.(*Rules).match", file: FILE, line });
  const now = Math.floor(Date.now() / 1000);
  const profile = cpuPprof(
    [
      { stack: [main, apply, match(12), { name: "regexp.(*Regexp).doExecute", file: "/usr/local/go/src/regexp/exec.go", line: 500 }], value: 6e9 },
      { stack: [main, apply, match(11)], value: 3e9 },
      { stack: [main, { name: "unknown" }], value: 1e9 },
    ],
    now - 20,
    10,
  );
  for (const service of ["checkout{version=1.5.0}", "other"]) {
    const query = new URLSearchParams({ name: service, format: "pprof", from: String(now - 20), until: String(now - 10) });
    const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body: profile });
    assert.ok(response.ok, await response.text());
  }
});
after(async () => {
  await session?.close();
  await repository?.remove();
});

const code = () => page.getByRole("table", { name: "Source code" });
const line = (text) => code().getByRole("row").filter({ hasText: text });
const cells = async (text) => (await line(text).getByRole("cell").allTextContents()).slice(0, 3);

test("the code of a function is shown with self and total of each line", async () => {
  await page.goto(`${url}/explore?v=1&service=checkout&view=table`);
  await page.getByRole("row").filter({ hasText: "Rules).match" }).click({ button: "right" });
  await page.getByRole("menuitem", { name: "Show its source code" }).click();
  await page.waitForURL(/view=source/);
  await line("return r.pattern.MatchString(item.Name)").waitFor();
  await page.getByText("internal/tax/rules.go").waitFor();
  assert.deepEqual(await cells("return r.pattern.MatchString"), ["12", "", "6 s"]);
  assert.deepEqual(await cells("println"), ["11", "3 s", "3 s"]);
  // The caller is in the same file, and its line stands beside.
  assert.deepEqual(await cells("r.match(item)"), ["6", "", "9 s"]);
  assert.deepEqual(await cells("package tax"), ["1", "", ""]);
  // What the file says is text.
  await line(HOSTILE).waitFor();
  // The lines of the function itself are marked.
  assert.equal(await code().locator(".own").count(), 2);
});

test("the version that is looked at is the one that is shown", async () => {
  await page.goto(`${url}/explore?v=1&service=checkout&view=source&labels=${encodeURIComponent('version="1.5.0"')}`);
  await page.getByRole("button", { name: /Rules\).Apply/ }).click();
  await line("r.match(item)").waitFor();
  assert.equal(await page.getByText("lines may have moved").count(), 0);
});

test("what cannot be shown is said", async () => {
  await page.goto(`${url}/explore?v=1&service=checkout&view=source`);
  await page.getByRole("button", { name: /^\(\*Regexp\).doExecute/ }).click();
  await page.getByText(/belongs to a library/).waitFor();
  // The lines are told all the same.
  assert.deepEqual(await cells("500"), ["500", "6 s", "6 s"]);
  await page.getByRole("button", { name: "unknown", exact: true }).click();
  await page.getByText("The profile does not say in which file unknown is.").waitFor();
});

test("a service without configured code has no such view", async () => {
  await page.goto(`${url}/explore?v=1&service=other`);
  await page.getByRole("button", { name: "Call tree" }).waitFor();
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
  assert.equal(await page.getByRole("button", { name: "Source", exact: true }).count(), 0);
  await page.goto(`${url}/explore?v=1&service=other&view=source`);
  await page.getByText(/has not been configured/).waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing serious in the ${colorScheme} theme, and it fits 390 px`, async () => {
    const context = await session.context.browser().newContext({ colorScheme, bypassCSP: true, viewport: { width: 1280, height: 900 } });
    const other = await context.newPage();
    await other.goto(`${url}/explore?v=1&service=checkout&view=source`, { waitUntil: "networkidle" });
    await other.getByRole("table", { name: "Source code" }).waitFor();
    await other.addScriptTag({ content: AXE });
    const found = await other.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")}`), []);
    await other.setViewportSize({ width: 390, height: 844 });
    await other.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth);
    await context.close();
  });
}

test("nothing broke the policy or reached the console", () =>
  // A refusal with 404 is what the browser itself reports.
  assert.deepEqual(session.faults.filter((fault) => !fault.includes("status of 404")), []));
