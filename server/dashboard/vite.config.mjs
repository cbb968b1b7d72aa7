// Builds the dashboard into `dist`, under names that do not change: the files are committed, and the JobManager
// includes them by name.

import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

/** The licences of what is bundled, gathered from the packages themselves. */
function licenses() {
  const read = (name, file) => readFileSync(`node_modules/${name}/${file}`, "utf8");
  const describe = (name) => JSON.parse(read(name, "package.json"));
  const all = (names, found) => {
    for (const name of names) {
      if (!found.includes(name)) {
        found.push(name);
        all(Object.keys(describe(name).dependencies ?? {}), found);
      }
    }
    return found;
  };
  return {
    name: "licenses",
    generateBundle() {
      const own = JSON.parse(readFileSync("package.json", "utf8"));
      const parts = all(Object.keys(own.dependencies), []).sort().map((name) => {
        const { version, license } = describe(name);
        return `${name} ${version} (${license})\n\n${read(name, "LICENSE").trim()}\n`;
      });
      const source = parts.join(`\n${"-".repeat(78)}\n\n`);
      this.emitFile({ type: "asset", fileName: "licenses.txt", source });
    },
  };
}

export default defineConfig({
  // Paths relative to the page, so that it also works behind a proxy that puts it elsewhere.
  base: "./",
  plugins: [licenses()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: "dashboard.js",
        assetFileNames: (asset) =>
          asset.names.some((name) => name.endsWith(".css")) ? "dashboard.css" : "[name][extname]",
      },
    },
  },
  worker: { format: "es", rolldownOptions: { output: { entryFileNames: "layout.js" } } },
  server: { proxy: { "^/(?!src|node_modules|@|$)": "http://127.0.0.1:8081" } },
});
