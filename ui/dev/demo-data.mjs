// Sends a made-up shop to a running server: an hour of profiles of three services in two regions, whose
// version changes half-way and makes one function slower, and the same hour of a week ago. For pictures,
// and for the first five minutes.
//
//   node dev/demo-data.mjs [http://127.0.0.1:4040] [minutes]

import { pathToFileURL } from "node:url";
import { frameOf } from "./demo-code.mjs";
import { cpuPprof } from "./pprof.mjs";

const STEP_S = 30;
const TICK_NS = 1e7;
const WEEK_S = 7 * 86_400;
/** A week ago a little less was going on. */
const THEN = 0.8;

/** Numbers that look random and are the same every time. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const HTTP = "main.main;net/http.(*Server).Serve;net/http.(*conn).serve;net/http.HandlerFunc.ServeHTTP";
const SHOP = "github.com/acme/shop/internal";
const CHECKOUT = [
  [`${HTTP};${SHOP}/cart.(*Handler).Checkout;${SHOP}/cart.(*Cart).Total;${SHOP}/price.(*Book).Lookup;runtime.mapaccess2_faststr`, 90],
  [`${HTTP};${SHOP}/cart.(*Handler).Checkout;${SHOP}/cart.(*Cart).Total;${SHOP}/price.Round`, 26],
  [`${HTTP};${SHOP}/cart.(*Handler).Checkout;${SHOP}/tax.(*Rules).Apply;${SHOP}/tax.(*Rules).match;regexp.(*Regexp).doExecute`, 60],
  [`${HTTP};${SHOP}/cart.(*Handler).Checkout;encoding/json.(*Encoder).Encode;encoding/json.structEncoder.encode;encoding/json.stringEncoder`, 70],
  [`${HTTP};${SHOP}/cart.(*Handler).Checkout;encoding/json.(*Encoder).Encode;encoding/json.structEncoder.encode;runtime.mallocgc`, 40],
  [`${HTTP};${SHOP}/auth.(*Middleware).Check;crypto/hmac.(*hmac).Sum;crypto/sha256.block`, 55],
  [`${HTTP};${SHOP}/search.(*Index).Query;${SHOP}/search.(*Index).score;${SHOP}/search.intersect`, 110],
  [`${HTTP};${SHOP}/search.(*Index).Query;${SHOP}/search.(*Index).score;sort.Slice;sort.pdqsort_func`, 48],
  ["runtime.gcBgMarkWorker;runtime.systemstack;runtime.gcDrain;runtime.scanobject", 52],
  ["runtime.gcBgMarkWorker;runtime.systemstack;runtime.gcDrain;runtime.greyobject", 18],
  ["runtime.mcall;runtime.park_m;runtime.schedule;runtime.findRunnable", 30],
];
const SERVICES = {
  checkout: { stacks: CHECKOUT, slower: /tax\.\(\*Rules\)\.match/, by: 2.4, scale: 1 },
  reports: {
    stacks: [
      ["reports/server.py:12 - serve;reports/views.py:40 - monthly;reports/query.py:88 - run;pandas/core/frame.py:3200 - merge", 140],
      ["reports/server.py:12 - serve;reports/views.py:40 - monthly;reports/render.py:20 - draw_chart;PIL/Image.py:2100 - resize", 80],
      ["reports/server.py:12 - serve;reports/views.py:71 - export;csv.py:150 - writerow", 34],
    ],
    slower: /never/,
    by: 1,
    scale: 0.5,
  },
  ledger: {
    stacks: [
      ["java/lang/Thread.run;com/acme/ledger/Worker.run;com/acme/ledger/Journal.append;java/util/concurrent/locks/ReentrantLock.lock", 44],
      ["java/lang/Thread.run;com/acme/ledger/Worker.run;com/acme/ledger/Journal.append;java/io/FileOutputStream.write", 60],
      ["java/lang/Thread.run;com/acme/ledger/Worker.run;org/apache/kafka/clients/consumer/KafkaConsumer.poll", 38],
    ],
    slower: /never/,
    by: 1,
    scale: 0.8,
  },
};

export async function sendDemo(server, minutes = 60) {
  const now = Math.floor(Date.now() / 1000 / STEP_S) * STEP_S;
  const rounds = Math.floor((minutes * 60) / STEP_S);
  let sent = 0;
  for (let round = rounds; round > 0; round--) {
    const from = now - round * STEP_S;
    const isNew = round <= rounds / 2;
    for (const name of Object.keys(SERVICES)) {
      for (const region of ["eu", "us"]) {
        await send(server, { name, region, from, version: isNew ? "1.5.0" : "1.4.2", isNew, load: 1 });
        if (name !== "ledger") await send(server, { name, region, from: from - WEEK_S, version: "1.4.2", isNew: false, load: THEN });
        sent += 2;
      }
    }
  }
  return sent;
}

async function send(server, { name, region, from, version, isNew, load }) {
  const { stacks, slower, by, scale } = SERVICES[name];
  const next = random(from + name.length * 7 + region.length);
  const weight = load * scale * (region === "eu" ? 1.5 : 1) * (1 + 0.25 * Math.sin(from / 700));
  const samples = stacks.map(([stack, value]) => [
    stack,
    Math.max(1, Math.round(value * weight * (0.85 + 0.3 * next()) * (isNew && slower.test(stack) ? by : 1) * (STEP_S / 10))),
  ]);
  // Go's profiles say files and lines.
  const format = LANGUAGES[name] === "Go" ? "pprof" : "folded";
  const body =
    format === "pprof"
      ? cpuPprof(samples.map(([stack, ticks]) => ({ stack: stack.split(";").map(frameOf), value: ticks * TICK_NS })), from, STEP_S)
      : samples.map(([stack, ticks]) => `${stack} ${ticks}`).join("\n");
  const query = new URLSearchParams({
    name: `${name}${format === "pprof" ? "" : ".cpu"}{region=${region},version=${version},telemetry_sdk_language=${LANGUAGES[name]}}`,
    format,
    from: String(from),
    until: String(from + STEP_S),
    sampleRate: "100",
  });
  const response = await fetch(`${server}/ingest?${query}`, { method: "POST", body });
  if (!response.ok) throw new Error(`/ingest answered ${response.status}: ${await response.text()}`);
}

const LANGUAGES = { checkout: "Go", reports: "Python", ledger: "Java" };

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [server = "http://127.0.0.1:4040", minutes = "60"] = process.argv.slice(2);
  console.log(`${await sendDemo(server, Number(minutes))} profiles sent to ${server}`);
}
