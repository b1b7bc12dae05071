// Modules of the page in this process, without a browser.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { common } from "../../build.mjs";

/** What modules export, all bundled as one. @param {string[]} paths such as `src/worker/wire.ts` */
export async function load(...paths) {
  const { outputFiles: [{ text }] } = await build({
    ...common, minify: false, sourcemap: "inline", write: false, format: "esm", platform: "neutral",
    stdin: { contents: paths.map((path) => `export * from "./${path}";`).join("\n"), resolveDir: common.absWorkingDir },
  });
  const directory = await mkdtemp(join(tmpdir(), "wsproxy-unit-"));
  try {
    const file = join(directory, "unit.mjs");
    await writeFile(file, text);
    return await import(pathToFileURL(file));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
