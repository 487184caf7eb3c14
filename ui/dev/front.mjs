// Serves the built pages in front of a running server, under the policy that the server itself sends:
// pages can be tried without building the binary anew.
//
//   node dev/front.mjs [--port 4098] [--server http://127.0.0.1:4040]

import { createServer, request as ask } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const MEDIA = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
/** Everything else is a page or a file of the pages. */
const OF_THE_SERVER = /^\/(querier|push|adhocprofiles)\.v1\.|^\/(api|ingest|pyroscope|ready|metrics|l|v1development|-)(\/|$)/;

/** Resolves to the address once it listens. */
export function serveInFrontOf(server, port = 0) {
  const target = new URL(server);
  const front = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (OF_THE_SERVER.test(pathname)) {
      const passed = ask({ host: target.hostname, port: target.port, path: request.url, method: request.method, headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      passed.on("error", () => response.destroy());
      request.pipe(passed);
      return;
    }
    const file = pathname.startsWith("/assets/") ? normalize(pathname) : "index.html";
    try {
      const bytes = await readFile(join(DIST, file));
      response.writeHead(200, { "Content-Type": MEDIA[extname(file)] ?? "application/octet-stream", "Content-Security-Policy": POLICY });
      response.end(bytes);
    } catch {
      response.writeHead(404).end("not found; is ui/dist built?");
    }
  });
  return new Promise((resolve) => front.listen(port, "127.0.0.1", () => resolve({ url: `http://127.0.0.1:${front.address().port}`, close: () => front.close() })));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : process.argv[at + 1];
  };
  const { url } = await serveInFrontOf(option("server", "http://127.0.0.1:4040"), Number(option("port", "4098")));
  console.log(`pages on ${url}`);
}
