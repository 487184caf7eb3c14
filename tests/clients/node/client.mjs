// Profiles itself with the unmodified Node SDK: wall time, CPU time and heap, with a label that is set while
// it runs.
//
// usage: node client.mjs SERVER_URL SECONDS

import { setTimeout as sleep } from "node:timers/promises";
import Pyroscope from "@pyroscope/nodejs";

// How often the SDK uploads; its default is 60 s.
const WINDOW_MS = 1000;

function everflameHotNode(rounds) {
  let x = 1;
  for (let i = 1; i < rounds; i++) {
    x = (x * 48271 + i) % 2147483647;
  }
  return x;
}

const [server, seconds] = process.argv.slice(2);
if (server === undefined || !(Number(seconds) > 0)) {
  console.error("usage: node client.mjs SERVER_URL SECONDS");
  process.exit(2);
}
Pyroscope.init({
  appName: "client-node",
  serverAddress: server,
  flushIntervalMs: WINDOW_MS,
  tags: { region: "test" },
  wall: { samplingDurationMs: WINDOW_MS, samplingIntervalMicros: 10_000, collectCpuTime: true },
  heap: { samplingIntervalBytes: 65_536, stackDepth: 64 },
});
Pyroscope.start();
const retained = [];
const end = Date.now() + Number(seconds) * 1000;
let sink = 0;
while (Date.now() < end) {
  Pyroscope.wrapWithLabels({ endpoint: "cart" }, () => {
    sink += everflameHotNode(2_000_000);
  });
  retained.push(new Array(4096).fill(sink));
  // The SDK's own timers run only when the event loop gets a turn.
  await sleep(1);
}
await Pyroscope.stop();
