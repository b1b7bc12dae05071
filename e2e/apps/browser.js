// The browser of the tests' scripts.
import { execFileSync } from "node:child_process";
import { chromium } from "playwright-core";

/** Starts Chromium, to which every name leads to an address. */
export function launch(address = "127.0.0.1") {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
    // Nothing but the loopback interface is asked for; root has no sandbox.
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP * ${address}`,
    ],
  });
}
