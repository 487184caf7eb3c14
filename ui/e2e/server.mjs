// The real server under test: EVERFLAME_BIN is started on an empty folder and a free port.
// EVERFLAME_URL names one that runs already, for work on the tests themselves. EVERFLAME_PAGES=dist takes the
// pages from ui/dist instead of the binary, for work on the pages.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveInFrontOf } from "../dev/front.mjs";

const START_MS = 20_000;

/** `args` are more arguments of `everflame serve`. */
export async function startServer(args = []) {
  if (process.env.EVERFLAME_URL) return { url: process.env.EVERFLAME_URL.replace(/\/$/, ""), stop: async () => {} };
  const binary = process.env.EVERFLAME_BIN;
  if (!binary) throw new Error("EVERFLAME_BIN is not set: build the server and name its binary, EVERFLAME_BIN=target/release/everflame npm run e2e");
  const data = await mkdtemp(join(tmpdir(), "everflame-e2e-"));
  let running = await listen(binary, data, 0, args);
  const { url } = running;
  const front = process.env.EVERFLAME_PAGES === "dist" ? await serveInFrontOf(url) : null;
  return {
    url: front?.url ?? url,
    /** Stops the server; `start` brings it back on the same port with the same data. */
    halt: () => running.end(),
    start: async () => {
      running = await listen(binary, data, Number(new URL(url).port), args);
    },
    stop: async () => {
      front?.close();
      await running.end();
      await rm(data, { recursive: true, force: true });
    },
  };
}

async function listen(binary, data, port, args) {
  const child = spawn(binary, ["serve", "--data", data, "--listen", `127.0.0.1:${port}`, "--self-profiling=false", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let output = "";
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the server printed no address within ${START_MS} ms:\n${output}`)), START_MS);
    child.stderr.on("data", (chunk) => (output += chunk));
    child.stdout.on("data", (chunk) => {
      output += chunk;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[0]);
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it listened:\n${output}`)));
  });
  return {
    url,
    end: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Pushes folded stacks as `name`, one profile of 10 s every 10 s up to now. */
export async function pushFolded(url, name, folded, profiles) {
  const now = Math.floor(Date.now() / 1000);
  for (let i = profiles; i > 0; i--) {
    const query = new URLSearchParams({ name, format: "folded", from: String(now - i * 10), until: String(now - (i - 1) * 10), sampleRate: "100" });
    const response = await fetch(`${url}/ingest?${query}`, { method: "POST", body: folded });
    if (!response.ok) throw new Error(`/ingest answered ${response.status}: ${await response.text()}`);
  }
}
