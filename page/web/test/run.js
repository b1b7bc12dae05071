// Runs the tests: `node test/run.js unit` what needs no browser, `node
// test/run.js chromium` the rest in a real one, against the real server and a real sshd.
// `bench` says what that costs, and `pictures` makes those of the documents anew.
// It builds the server first, unless WSPROXY_BINARY names one. Names of files
// behind that are those to be run.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildForTests } from "./support/build.js";

const here = dirname(fileURLToPath(import.meta.url));
const [kind, ...names] = process.argv.slice(2);
if (!["unit", "chromium", "bench", "pictures"].includes(kind)) {
  console.error("usage: node test/run.js unit|chromium|bench|pictures [FILE...]");
  process.exit(2);
}

const directory = mkdtempSync(join(tmpdir(), "wsproxy-page-"));
try {
  process.exitCode = await run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function run() {
  const env = { ...process.env };
  if (kind !== "unit") {
    if (!env.WSPROXY_BINARY) {
      env.WSPROXY_BINARY = join(directory, "wsproxy");
      const root = join(here, "..", "..", "..");
      const build = spawnSync("go", ["build", "-o", env.WSPROXY_BINARY, "."], { cwd: root, stdio: "inherit" });
      if (build.status !== 0) return 1;
    }
    env.PAGE_TEST_FILES = join(directory, "page");
    await buildForTests(env.PAGE_TEST_FILES);
  }
  const folder = kind === "chromium" ? here : join(here, kind);
  const files = names.length > 0 ? names.map((name) => resolve(name))
    : readdirSync(folder).filter((name) => name.endsWith(kind === "unit" || kind === "chromium" ? ".test.js" : ".js")).map((name) => join(folder, name));
  return spawnSync(process.execPath, ["--test", "--test-concurrency=1", ...files], { env, stdio: "inherit" }).status ?? 1;
}
