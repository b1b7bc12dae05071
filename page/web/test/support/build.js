// What the tests have in place of the page: the worker as it is shipped, and the library
// with what tests need at hand.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { addWorker, common } from "../../build.mjs";

export async function buildForTests(directory) {
  await mkdir(directory, { recursive: true });
  const add = async (name, bytes) => {
    await writeFile(join(directory, name), bytes);
    return name;
  };
  const { workerFile } = await addWorker(add, false);
  await build({
    ...common, format: "esm", entryPoints: { lib: "test/support/page.ts" }, outdir: directory,
    define: { WORKER_FILE: JSON.stringify(workerFile) },
  });
  await add("index.html", '<!doctype html><meta charset="utf-8"><title>page</title><script type="module" src="lib.js"></script>');
}
