// Runs the tests: `node test/run.js node` in this process's own runtime,
// `node test/run.js chromium` the same behaviours in a real browser. It builds
// the server first, unless WSPROXY_BINARY names one.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const place = process.argv[2];
if (place !== "node" && place !== "chromium") {
  console.error("usage: node test/run.js node|chromium");
  process.exit(2);
}

const directory = mkdtempSync(join(tmpdir(), "wsproxy-js-"));
try {
  process.exitCode = run();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function run() {
  const env = { ...process.env, WSPROXY_TEST_IN: place };
  if (!env.WSPROXY_BINARY) {
    env.WSPROXY_BINARY = join(directory, "wsproxy");
    const root = join(here, "..", "..", "..");
    const build = spawnSync("go", ["build", "-o", env.WSPROXY_BINARY, "."], { cwd: root, stdio: "inherit" });
    if (build.status !== 0) return 1;
  }
  // Units say nothing about the browser; what is in both places is in test/.
  const directories = place === "node" ? [here, join(here, "unit")] : [here];
  const files = directories.flatMap((d) =>
    readdirSync(d).filter((name) => name.endsWith(".test.js")).map((name) => join(d, name)));
  // Most tests wait most of the time: more files at once than there are processors.
  return spawnSync(process.execPath, ["--test", "--test-concurrency=4", ...files], { env, stdio: "inherit" }).status ?? 1;
}
