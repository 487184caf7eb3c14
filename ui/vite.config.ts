import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `npm run dev` shows live data of a server on Everflame's own port, or of the mock server
// (EVERFLAME_URL=http://127.0.0.1:4099, see dev/mock-server.mjs).
const server = process.env.EVERFLAME_URL ?? "http://127.0.0.1:4040";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "dist",
    assetsDir: "assets",
    // The server's policy allows scripts and fonts from itself only, so nothing becomes a data: URL.
    assetsInlineLimit: 0,
    sourcemap: false,
    target: "es2023",
  },
  // Pure functions need no process each; on a busy machine starting one can take longer than Vitest waits.
  test: { pool: "threads", isolate: false, fileParallelism: false },
  server: {
    proxy: { "/querier.v1.QuerierService": server, "/api": server, "/ingest": server, "/ready": server },
  },
});
