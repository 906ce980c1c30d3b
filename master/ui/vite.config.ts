// Builds the bundle that the master embeds. `npm run dev` serves it with everything else taken from a running master: TEPUI_MASTER names it.
import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

const master = process.env.TEPUI_MASTER ?? "http://127.0.0.1:5050";
const passed = ["/api", "/tepui", "/service", "/agent", "/master", "/state", "/slaves", "/frameworks", "/tasks", "/roles", "/metrics", "/health", "/maintenance", "/machine"];

export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(passed.map((path) => [`^${path}(/|\\?|$)`, { target: master, changeOrigin: true }])),
  },
});
