// Builds the page into page/dist: `node build.mjs`, or with --quick for a
// development build, which is compressed less and has source maps.
//
// index.html is the only file whose name stays. All others have a hash of their
// contents in their names and may be kept for ever. Beside what compresses lie
// .br and .gz, and files.json says of each file what a server has to know.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build as bundle } from "esbuild";

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));
const page = dirname(here);
const cache = join(here, "node_modules", ".cache", "page");

/** Types that a server says of the files. A file of another kind is a mistake. */
const types = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
  ".woff2": "font/woff2",
};
const packed = new Set([".png", ".woff2"]); // not to be compressed again

const digest = (bytes) => createHash("sha256").update(bytes).digest("base64url");
const hashed = (name, bytes) => {
  const extension = extname(name);
  return `${basename(name, extension)}.${digest(bytes).replace(/[-_]/g, "").slice(0, 10)}${extension}`;
};

/** `import "go:wasm_exec"` is the file of that name that belongs to the Go that compiles the rest. */
const goRuntime = {
  name: "go-runtime",
  setup({ onResolve }) {
    onResolve({ filter: /^go:wasm_exec$/ }, async () => {
      const { stdout } = await run("go", ["env", "GOROOT"], { cwd: page });
      return { path: join(stdout.trim(), "lib", "wasm", "wasm_exec.js") };
    });
  },
};

/** What all bundles have in common. */
export const common = {
  bundle: true,
  minify: true,
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none", // licenses.txt has them
  logLevel: "warning",
  absWorkingDir: here,
};

export async function build({ directory = join(page, "dist"), quick = false } = {}) {
  const next = `${directory}.next`;
  await rm(next, { recursive: true, force: true });
  await mkdir(next, { recursive: true });
  const files = {};
  const add = async (name, bytes, isImmutable = true) => {
    const kept = isImmutable ? hashed(name, bytes) : name;
    await put(next, files, kept, Buffer.from(bytes), isImmutable, quick);
    return kept;
  };

  const sourcemap = quick ? "inline" : false;
  const { wasm, workerFile } = await addWorker(add, sourcemap);

  // The looks. Their chunks have esbuild's own hashes, because they name each other.
  const names = {};
  const app = await bundle({
    ...common, sourcemap, write: false, outdir: next, format: "esm", splitting: true, metafile: true,
    entryPoints: { app: "src/app/main.ts" }, entryNames: "[name].[hash]", chunkNames: "[name].[hash]", assetNames: "[name].[hash]",
    loader: { ".woff2": "file", ".svg": "file", ".png": "file" },
    define: { WORKER_FILE: JSON.stringify(workerFile) },
  });
  for (const { path, contents } of app.outputFiles) {
    const name = basename(path);
    names[name.replace(/\.[A-Z0-9]{8}\./, ".")] = name;
    await put(next, files, name, Buffer.from(contents), true, quick);
  }
  const assets = join(here, "src", "app", "assets");
  const fill = (text, of) => text.replace(/\{\{([\w.-]+)\}\}/g, (_, name) => {
    if (!names[name]) throw new Error(`${of} names ${name}, which is not there`);
    return names[name];
  });
  const isTemplate = (name) => name.endsWith(".webmanifest");
  const found = await readdir(assets).catch(() => []);
  // What names others comes last.
  for (const name of found.sort((a, b) => isTemplate(a) - isTemplate(b))) {
    const bytes = await readFile(join(assets, name));
    names[name] = await add(name, isTemplate(name) ? fill(String(bytes), name) : bytes);
  }
  names["licenses.txt"] = await add("licenses.txt", await licenses());
  await add("index.html", fill(await readFile(join(here, "src", "app", "index.html"), "utf8"), "index.html"), false);

  await writeFile(join(next, "files.json"), `${JSON.stringify(files, null, 1)}\n`);
  await rm(directory, { recursive: true, force: true });
  await rename(next, directory);
  return { directory, files, workerFile, wasm };
}

/** The worker and the SSH client that it loads. `add` writes a file and returns the name that it has got. */
export async function addWorker(add, sourcemap) {
  const wasm = await add("ssh.wasm", await compile());
  const { outputFiles: [worker] } = await bundle({
    ...common, sourcemap, write: false, format: "iife", entryPoints: ["src/worker/worker.ts"],
    plugins: [goRuntime], define: { WASM_FILE: JSON.stringify(wasm) },
  });
  return { wasm, workerFile: await add("worker.js", worker.contents) };
}

/** Writes a file with its compressed forms, and notes it. */
async function put(directory, files, name, bytes, immutable, quick) {
  const extension = extname(name);
  const type = types[extension];
  if (!type) throw new Error(`${name} is of a kind that nobody knows`);
  const hash = digest(bytes);
  files[name] = { hash, type, immutable, size: bytes.length };
  await writeFile(join(directory, name), bytes);
  if (packed.has(extension)) return;
  const quality = quick ? 4 : 11;
  const br = await cached(`${hash}.${quality}.br`, () => promisify(brotliCompress)(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: quality, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  }));
  const gz = await cached(`${hash}.${quality}.gz`, () => promisify(gzip)(bytes, { level: quick ? 4 : 9 }));
  await writeFile(join(directory, `${name}.br`), br);
  await writeFile(join(directory, `${name}.gz`), gz);
}

/** Compressing wasm well takes longer than all the rest. */
async function cached(name, make) {
  const path = join(cache, name);
  try {
    return await readFile(path);
  } catch {
    const bytes = await make();
    await mkdir(cache, { recursive: true });
    await writeFile(`${path}.${process.pid}`, bytes);
    await rename(`${path}.${process.pid}`, path);
    return bytes;
  }
}

/** The SSH client. Go has a cache of its own. */
async function compile() {
  await stat(join(page, "wasm")); // says what is missing, in place of the compiler's riddle
  await mkdir(cache, { recursive: true });
  const out = join(cache, `ssh.${process.pid}.wasm`);
  try {
    // Without the commit in it, the same source has the same name, and browsers keep what they have.
    await run("go", ["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, "./wasm"], {
      cwd: page, env: { ...process.env, GOOS: "js", GOARCH: "wasm", CGO_ENABLED: "0", GOFLAGS: "-pgo=off" },
    });
    return await readFile(out);
  } finally {
    await rm(out, { force: true });
  }
}

/** What the licenses of the packages in it ask for. */
async function licenses() {
  const { dependencies } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  const parts = [];
  for (const name of Object.keys(dependencies).sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    parts.push(`${name} ${version} (${license})\n\n${file ? await readFile(join(folder, file), "utf8") : ""}`);
  }
  const { stdout } = await run("go", ["list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}", "./wasm"], {
    cwd: page, env: { ...process.env, GOOS: "js", GOARCH: "wasm" },
  });
  for (const line of [...new Set(stdout.split("\n"))].sort()) {
    const [path, version, folder] = line.split("\t");
    if (!version) continue; // this module's own
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    parts.push(`${path} ${version}\n\n${file ? await readFile(join(folder, file), "utf8") : ""}`);
  }
  const { stdout: root } = await run("go", ["env", "GOROOT"], { cwd: page });
  parts.push(`Go's runtime and standard library\n\n${await readFile(join(root.trim(), "LICENSE"), "utf8").catch(() => "BSD-3-Clause")}`);
  return parts.join(`\n\n${"-".repeat(72)}\n\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const began = Date.now();
  const { directory, files } = await build({ quick: process.argv.includes("--quick") });
  const sizes = await Promise.all(Object.keys(files).map(async (name) => {
    const { size } = await stat(join(directory, `${name}.br`)).catch(() => stat(join(directory, name)));
    return [name, size];
  }));
  for (const [name, size] of sizes) console.log(`${(size / 1024).toFixed(1).padStart(9)} KiB  ${name}`);
  console.log(`${(sizes.reduce((sum, [, size]) => sum + size, 0) / 1024).toFixed(1).padStart(9)} KiB  compressed, in ${((Date.now() - began) / 1000).toFixed(1)} s`);
}
