// Every other page, as it stands on the screen, and what holds for all of them: two languages, two
// themes, narrow screens, no serious fault for those who use a screen reader.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { pushFolded } from "./server.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let session;
let page;
let url;

before(async () => {
  session = await openBrowser();
  ({ page } = session);
  ({ url } = session.server);
  for (const [service, region, weight] of [["alpha", "eu", 60], ["beta", "us", 240], ["beta", "eu", 20], ["gamma", "us", 120]]) {
    await pushFolded(url, `${service}.cpu{region=${region},pod=${service}-1}`, `main;work;inner ${weight}\nmain;idle 10`, 12);
  }
});
after(() => session?.close());

const services = () => page.getByRole("listitem").filter({ has: page.getByRole("heading") });
const namesOf = async () => (await services().getByRole("link").filter({ hasNot: page.locator(".soft") }).evaluateAll((links) => links.filter((link) => link.closest("h2")).map((link) => link.textContent)));

test("services are searched, sorted and grouped", async () => {
  await page.goto(url);
  await page.getByText("3 services").waitFor();
  await services().first().getByText(/cores?$/).waitFor();
  assert.deepEqual(await namesOf(), ["alpha", "beta", "gamma"]);
  await page.getByRole("combobox", { name: "Sort services" }).selectOption("value");
  await page.waitForFunction(() => document.querySelector(".service h2 a")?.textContent === "beta");
  await page.getByRole("combobox", { name: "Group services" }).selectOption("region");
  await page.getByRole("heading", { name: "eu" }).waitFor();
  assert.deepEqual(await namesOf(), ["beta", "alpha", "beta", "gamma"]);
  await page.reload();
  await page.getByRole("heading", { name: "us" }).waitFor();
  await page.getByRole("searchbox", { name: "Search services" }).fill("^(al|ga)");
  await page.waitForFunction(() => document.querySelectorAll(".service h2").length === 2);
  await page.getByText(/^seen .* ago$/).first().waitFor();
});

test("a service says its language, and how it compares with the same time last week", async () => {
  const now = Math.floor(Date.now() / 1000);
  for (const [from, work] of [[now - 600, 120], [now - 600 - 7 * 86_400, 80]]) {
    const query = new URLSearchParams({ name: "weekly.cpu{telemetry_sdk_language=rust}", format: "folded", from: String(from), until: String(from + 60), sampleRate: "100" });
    assert.ok((await fetch(`${url}/ingest?${query}`, { method: "POST", body: `main;work ${work}` })).ok);
  }
  await page.goto(url);
  const row = services().filter({ has: page.getByRole("heading", { name: "weekly", exact: true }) });
  await row.getByText("rust", { exact: true }).waitFor();
  await row.getByText("+50 %").waitFor();
  // 1.2 s of CPU time in a minute.
  await row.getByText("0.02 cores").waitFor();
});

test("labels tell which value the difference comes from", async () => {
  await page.goto(`${url}/labels?v=1&service=beta`);
  const region = page.getByRole("region", { name: "region" });
  await region.getByText(/% uneven/).waitFor();
  await region.getByRole("listitem").first().getByText("us").waitFor();
  await region.getByRole("listitem").first().getByRole("link", { name: "with the rest" }).click();
  await page.waitForURL(/\/compare\?.*labels1=region%21%3D%22us%22.*labels2=region%3D%22us%22/);
  await page.goBack();
  await region.getByRole("link", { name: "us", exact: true }).click();
  await page.waitForURL(/\/explore\?.*labels=region%3D%22us%22/);
});

test("the timeline is stacked by a label", async () => {
  await page.goto(`${url}/explore?v=1&service=beta`);
  await page.getByRole("combobox", { name: "Stack the timeline by a label" }).selectOption("region");
  await page.waitForURL(/by=region/);
  await page.getByRole("img", { name: /CPU time over time, us, eu/ }).waitFor();
  await page.locator(".timeline-legend").getByText("eu").waitFor();
});

test("a function has a history, by label too", async () => {
  await page.goto(`${url}/explore?v=1&service=beta&view=table`);
  await page.getByRole("row").filter({ hasText: "inner" }).click({ button: "right" });
  await page.getByRole("menuitem", { name: "History of this function" }).click();
  await page.waitForURL(/\/function\?.*name=inner/);
  await page.getByRole("heading", { name: "inner" }).waitFor();
  await page.getByRole("img", { name: "Total, with all that it calls" }).waitFor();
  await page.getByRole("combobox", { name: "Split the history by a label" }).selectOption("region");
  await page.getByRole("img", { name: /Self, (us, eu|eu, us)/ }).waitFor();
});

test("a function's history reaches back months, version by version", async () => {
  const now = Math.floor(Date.now() / 1000);
  for (const [days, version, weight] of [[100, "1.0", 20], [62, "1.0", 30], [60, "2.0", 70], [3, "2.0", 90]]) {
    const from = now - days * 86_400;
    const query = new URLSearchParams({ name: `old.cpu{version=${version}}`, format: "folded", from: String(from), until: String(from + 10), sampleRate: "100" });
    const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body: `main;slowly ${weight}\nmain;idle 10` });
    assert.ok(response.ok, await response.text());
  }
  await page.goto(`${url}/function?v=1&service=old&name=slowly&from=now-120d`);
  await page.getByRole("img", { name: "Total, with all that it calls" }).waitFor();
  await page.getByRole("combobox", { name: "Split the history by a label" }).selectOption("version");
  await page.getByRole("img", { name: /Self, 1\.0, 2\.0/ }).waitFor();
  const self = page.getByRole("region", { name: "Self" });
  await self.getByText("1.0 0.03 cores").waitFor();
  await self.getByText("2.0 0.09 cores").waitFor();
});

test("a file is looked at, and stored only when asked to", async () => {
  await page.goto(`${url}/adhoc`);
  await page.locator("input[type=file]").setInputFiles([{ name: "dropped.txt", mimeType: "", buffer: Buffer.from("a;b 30\na;c 10\n") }]);
  await page.getByRole("treeitem", { name: /^total, total 40/ }).waitFor();
  const before = await (await fetch(`${url}/api/v1/status`)).json();
  await page.getByRole("button", { name: "Store on the server" }).click();
  await page.waitForURL(/\/explore\?.*service=adhoc-dropped/);
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
  const status = await (await fetch(`${url}/api/v1/status`)).json();
  assert.equal(status.ingest.received, before.ingest.received + 1);
});

test("a file is shared by a link", async () => {
  await page.goto(`${url}/adhoc`);
  await page.locator("input[type=file]").setInputFiles([{ name: "shared one.txt", mimeType: "", buffer: Buffer.from("a;b 30\na;<img src=x> 12\n") }]);
  await page.getByRole("treeitem", { name: /^total, total 42/ }).waitFor();
  await page.getByRole("button", { name: "Share by link" }).click();
  await page.waitForURL(/\/adhoc\?.*files=\w{26}-/);
  const link = page.url();
  await page.goto(url);
  await page.goto(link);
  await page.getByRole("treeitem", { name: /^total, total 42/ }).waitFor();
  await page.getByRole("row").filter({ hasText: "<img src=x>" }).waitFor();
});

test("forms that the page does not read are read by the server, call trees by the page", async () => {
  const cpuprofile = { nodes: [{ id: 1, callFrame: { functionName: "(root)", scriptId: "0", url: "", lineNumber: -1, columnNumber: -1 }, children: [2] }, { id: 2, callFrame: { functionName: "busy", scriptId: "1", url: "file:///app.js", lineNumber: 3, columnNumber: 1 } }], startTime: 0, endTime: 2_000_000, samples: [2, 2], timeDeltas: [1_000_000, 1_000_000] };
  await page.goto(`${url}/adhoc`);
  await page.locator("input[type=file]").setInputFiles([{ name: "app.cpuprofile", mimeType: "", buffer: Buffer.from(JSON.stringify(cpuprofile)) }]);
  await page.getByRole("row").filter({ hasText: "busy" }).first().waitFor();
  await page.goto(`${url}/adhoc`);
  const otlp = {
    resourceProfiles: [{ scopeProfiles: [{ profiles: [{ sampleType: { typeStrindex: 1, unitStrindex: 2 }, samples: [{ stackIndex: 1, values: ["7"] }], timeUnixNano: "1700000000000000000" }] }] }],
    dictionary: { mappingTable: [{}], functionTable: [{}, { nameStrindex: 3 }], locationTable: [{}, { lines: [{ functionIndex: 1 }] }], stackTable: [{}, { locationIndices: [1] }], stringTable: ["", "samples", "count", "collected"], linkTable: [{}], attributeTable: [{}] },
  };
  await page.locator("input[type=file]").setInputFiles([{ name: "export.json", mimeType: "", buffer: Buffer.from(JSON.stringify(otlp)) }]);
  await page.getByRole("row").filter({ hasText: "collected" }).first().waitFor();
  await page.goto(`${url}/adhoc`);
  const script = "app 7/7 [000] 12.5: 10101010 cpu-clock:\n\t55d0 recorded+0x10 (/usr/bin/app)\n\t55c0 main+0x1 (/usr/bin/app)\n\n";
  await page.locator("input[type=file]").setInputFiles([{ name: "perf.txt", mimeType: "", buffer: Buffer.from(script) }]);
  await page.getByRole("row").filter({ hasText: "recorded" }).first().waitFor();
  await page.goto(`${url}/adhoc`);
  // The unnamed root with one child: "main", 2 itself, and below it "leaf" with 300.
  const tree = Buffer.from([0, 0, 1, 4, ...Buffer.from("main"), 2, 1, 4, ...Buffer.from("leaf"), 0xac, 0x02, 0]);
  await page.locator("input[type=file]").setInputFiles([{ name: "whole.tree", mimeType: "", buffer: tree }]);
  await page.getByRole("treeitem", { name: /^total, total 302/ }).waitFor();
});

test("a speedscope file is stored as what it says", async () => {
  await page.goto(`${url}/adhoc`);
  const file = { shared: { frames: [{ name: "main" }, { name: "work" }] }, profiles: [{ type: "sampled", unit: "milliseconds", samples: [[0, 1], [0]], weights: [1500, 500] }] };
  await page.locator("input[type=file]").setInputFiles([{ name: "timed.json", mimeType: "", buffer: Buffer.from(JSON.stringify(file)) }]);
  await page.getByRole("treeitem", { name: /^total, total 2 s/ }).waitFor();
  await page.getByRole("button", { name: "Store on the server" }).click();
  await page.waitForURL(/\/explore\?.*service=adhoc-timed/);
  await page.getByRole("treeitem", { name: /^total, total 2 s/ }).waitFor();
});

test("the graph is saved as a picture", async () => {
  await page.goto(`${url}/explore?v=1&service=beta&view=flame`);
  await page.getByRole("treeitem", { name: /^total/ }).waitFor();
  await page.getByRole("button", { name: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as PNG" }).click()]);
  const picture = await readFile(await download.path());
  assert.deepEqual([...picture.subarray(1, 4)], [0x50, 0x4e, 0x47]);
  assert.ok(picture.length > 1000);
});

test("the setup page says when the first profile of a service arrives", async () => {
  await page.goto(`${url}/setup`);
  for (const sender of ["Go", "Python", "Ruby", "Java", "Node.js", ".NET", "Rust", "eBPF", "OTLP collector", "Kubernetes", "Alloy", "Grafana"]) {
    await page.getByRole("button", { name: sender, exact: true }).click();
    await page.locator("pre").getByText(url).waitFor();
  }
  await page.getByText(/\d services have sent profiles/).waitFor();
  await pushFolded(url, "newcomer.cpu", "main;hello 5", 1);
  await page.getByText("The first profile of newcomer has arrived.").waitFor();
  await page.getByRole("link", { name: "Look at it" }).click();
  await page.waitForURL(/service=newcomer/);
});

test("the status page counts what came in and what is stored", async () => {
  await page.goto(`${url}/status`);
  await page.getByRole("region", { name: "Coming in" }).getByText("Received profiles").waitFor();
  await page.getByRole("region", { name: "Storage" }).getByRole("rowheader", { name: "samples", exact: true }).waitFor();
});

test("the status page tells slow queries, who asks, and what goes next", async () => {
  await page.goto(`${url}/explore?v=1&service=beta`);
  await page.getByRole("treeitem", { name: /^total/ }).first().waitFor();
  // Which of them are the slowest depends on the machine: the page shows ten of those that the server remembers.
  const { queries } = await (await fetch(`${url}/api/v1/status/queries`)).json();
  assert.ok(queries.some(({ kind }) => kind === "stacks"), JSON.stringify(queries));
  await page.goto(`${url}/status`);
  const slow = page.getByRole("region", { name: "Slowest queries of the last hour" }).first();
  await slow.getByRole("row").filter({ hasText: queries[0].query }).first().waitFor();
  const clients = page.getByRole("region", { name: "Agents and clients" }).first();
  await clients.getByRole("row").filter({ hasText: "/ingest" }).first().waitFor();
  await clients.getByRole("row").filter({ hasText: "Chrome" }).first().waitFor();
  await page.getByRole("region", { name: "Retention" }).getByText(/without a limit|of \d/).waitFor();
});

test("the status page tells who takes the room, by tier", async () => {
  const compacted = await fetch(`${url}/api/v1/lake/compact`, { method: "POST" });
  assert.ok(compacted.ok);
  await page.goto(`${url}/status`);
  const storage = page.getByRole("region", { name: "Storage by service" }).first();
  const row = (name) => storage.getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
  await row("All services").waitFor();
  const { services } = await (await fetch(`${url}/api/v1/status/storage`)).json();
  for (const { name, tables } of services) {
    assert.ok(tables.samples > 0 && tables.stacks > 0, name);
    await row(name).getByText(/[KMG]iB|B$/).first().waitFor();
  }
  await row("beta").getByRole("link").click();
  await page.waitForURL(/\/explore\?.*service=beta/);
});

test("functions are grouped by what runs them", async () => {
  await pushFolded(url, "mixed.cpu", "do_syscall_64_[k];vfs_read_[k] 30\nmain.main;net/http.(*conn).serve 50\ntokio::runtime::poll 20", 1);
  await page.goto(`${url}/explore?v=1&service=mixed&view=flame`);
  await page.getByRole("button", { name: "Look", exact: true }).click();
  await page.getByRole("combobox", { name: "Group by" }).selectOption({ label: "Kind of code" });
  await page.waitForURL(/group=kind/);
  await page.getByRole("treeitem", { name: /^Go, total .*50/ }).waitFor();
  await page.getByRole("treeitem", { name: /^kernel, total .*30/ }).waitFor();
  await page.getByRole("treeitem", { name: /^native, total .*20/ }).waitFor();
});

test("a short link leads to what was looked at", async () => {
  await page.goto(`${url}/explore?v=1&service=beta&view=table`);
  await page.getByRole("table", { name: "Functions" }).waitFor();
  const answered = page.waitForResponse((response) => response.url().endsWith("/api/v1/links"));
  await page.getByRole("button", { name: "Copy a short link" }).click();
  await page.getByText("Short link copied").waitFor();
  const { url: link } = await (await answered).json();
  assert.match(link, /^\/l\/[0-9a-z]{12}$/);
  await page.goto(url + link);
  await page.waitForURL(/\/explore\?.*service=beta.*view=table/);
  await page.getByRole("table", { name: "Functions" }).waitFor();
});

test("a single point of a timeline is seen", async () => {
  await pushFolded(url, "lonely.cpu", "main;once 50", 1);
  await page.goto(`${url}/explore?v=1&service=lonely`);
  await page.getByRole("img", { name: /CPU time over time/ }).waitFor();
  const coloured = await page.locator(".timeline canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && Math.abs(data[i] - data[i + 2]) > 60) found++;
    return found;
  });
  assert.ok(coloured >= 16, `${coloured} pixels of the point`);
});

test("the palette leads everywhere", async () => {
  await page.goto(url);
  await page.getByText(/\d services/).waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").getByRole("combobox").fill("gam expl");
  await page.getByRole("option", { name: /gamma/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/explore\?.*service=gamma/);
});

test("times are shown in UTC on request, ranges are typed", async () => {
  await page.goto(`${url}/explore?v=1&service=alpha&from=2026-08-01T12:00:00Z&until=2026-08-01T13:00:00Z`);
  await page.getByRole("button", { name: /Local time/ }).click();
  await page.getByRole("combobox", { name: "Time zone" }).selectOption("utc");
  await page.getByRole("button", { name: /Time range: 1 Aug, 12:00 UTC – 1 Aug, 13:00 UTC|Time range: .*12:00 UTC/ }).waitFor();
  await page.getByText("alpha sent nothing in this range.").waitFor();
  await page.getByRole("button", { name: /Time range/ }).click();
  await page.getByRole("textbox", { name: "From" }).fill("now-6h");
  await page.getByRole("textbox", { name: "Until" }).fill("now");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("button", { name: "Time range: Last 6 h" }).waitFor();
  await page.getByRole("treeitem", { name: /^total/ }).waitFor();
});

test("every page speaks Japanese", async () => {
  const context = await session.context.browser().newContext({ locale: "ja-JP" });
  const other = await context.newPage();
  for (const path of ["/", "/explore", "/compare", "/labels", "/heatmap", "/function", "/adhoc", "/sql", "/status", "/setup"]) {
    await other.goto(url + path);
    await other.locator("main").waitFor();
    assert.equal(await other.evaluate(() => document.documentElement.lang), "ja");
    assert.match(await other.locator("main h1").first().textContent(), /[\u3040-\u30ff\u4e00-\u9fff]/, path);
  }
  await context.close();
});

const PATHS = {
  services: "/",
  explore: "/explore?v=1&service=beta",
  sandwich: "/explore?v=1&service=beta&view=sandwich",
  "call tree": "/explore?v=1&service=beta&view=tree",
  compare: "/compare?v=1&type=process_cpu%3Acpu%3Ananoseconds%3Acpu%3Ananoseconds&service1=alpha&service2=beta",
  labels: "/labels?v=1&service=beta",
  heatmap: "/heatmap?v=1&service=beta",
  function: "/function?v=1&service=beta&name=inner",
  adhoc: "/adhoc",
  sql: "/sql",
  status: "/status",
  setup: "/setup",
};

for (const [name, path] of Object.entries(PATHS)) {
  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing serious on ${name} in the ${colorScheme} theme, and it fits 390 px`, async () => {
      // The policy of the pages lets no script in from outside, so axe comes in beside it.
      const context = await session.context.browser().newContext({ colorScheme, bypassCSP: true, viewport: { width: 1280, height: 900 } });
      const other = await context.newPage();
      await other.goto(url + path, { waitUntil: "networkidle" });
      await other.locator(".skeleton").first().waitFor({ state: "detached" });
      await other.addScriptTag({ content: AXE });
      const found = await other.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      assert.deepEqual(serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")}`), []);
      await other.setViewportSize({ width: 390, height: 844 });
      await other.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth);
      await context.close();
    });
  }
}

test("nothing broke the policy or reached the console", () => assert.deepEqual(session.faults, []));
