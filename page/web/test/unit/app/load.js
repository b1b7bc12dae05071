// Compiles one module of the page for node, without its looks.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Imports a module below src/app, given by its path there. */
export async function load(path) {
  const entry = fileURLToPath(new URL(`../../../src/app/${path}`, import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", platform: "neutral", write: false, logLevel: "silent" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
