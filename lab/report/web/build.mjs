// Builds the one bundle of the page: `page.js`, `page.css` and the notice of other people's parts.
// `node build.mjs [OUT]` (default: ../bundle). The same sources and lock file give the same bytes.
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "../bundle");
const parts = Object.keys(JSON.parse(readFileSync(join(here, "package.json"), "utf8")).dependencies).sort();

function notice() {
  const texts = parts.map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license, homepage } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const text = readFileSync(join(folder, "LICENSE"), "utf8").trim();
    return `${name} ${version} (${license})${homepage ? ` ${homepage}` : ""}\n\n${text}\n`;
  });
  return `The page of a run contains these parts of other authors:\n\n${texts.join("\n----\n\n")}`;
}

const short = parts.map((name) => {
  const { version, license } = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  return `${name} ${version} (${license})`;
});

mkdirSync(out, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020"],
  charset: "ascii",
  legalComments: "none",
  banner: {
    js: `/* Built by \`make page\` from lab/report/web. Contains ${short.join(", ")}: see THIRD-PARTY.txt */`,
    css: `/* Built by \`make page\` from lab/report/web. Contains ${short.join(", ")}: see THIRD-PARTY.txt */`,
  },
  logLevel: "warning",
});
writeFileSync(join(out, "THIRD-PARTY.txt"), notice());
