// What a first visit costs: a browser that was just started, until its person has a shell. It needs a
// server that has the page: `make build`, and WSPROXY_BINARY=bin/wsproxy.
import { execFileSync } from "node:child_process";
import net from "node:net";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "../../../../client/js/test/support/server.js";
import { startSSHD } from "../support/sshd.js";
import { cpuTime } from "./cpu.js";

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const executablePath = process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();

test("a first visit", async (t) => {
  const sshd = await startSSHD(t);
  const server = await startServer(t, { WEB_TERMINAL: "on", LOG_LEVEL: "info" });
  if ((await fetch(`http://127.0.0.1:${server.port}/web-terminal.json`)).status !== 200) throw new Error("WSPROXY_BINARY has no page: make build puts it in");
  let sent = 0;
  const counter = net.createServer((near) => {
    const far = net.connect(server.port, "127.0.0.1");
    far.on("data", (bytes) => { sent += bytes.length; });
    near.pipe(far).pipe(near);
    for (const [one, other] of [[near, far], [far, near]]) one.on("error", () => other.destroy());
  });
  await new Promise((resolve) => counter.listen(0, "127.0.0.1", resolve));
  t.after(() => counter.close());
  const known = `[127.0.0.1]:${sshd.port} ${sshd.hostPublicKey}`;
  const took = { form: [], shell: [], bytes: [], cpu: [] };
  for (let round = 0; round < 5; round++) {
    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
    try {
      const tab = await browser.newPage();
      await tab.addInitScript((known) => {
        localStorage["wsproxy.settings"] = JSON.stringify({ webgl: false }); // so that the screen can be read
        localStorage["wsproxy.known_hosts"] = known;
      }, known);
      sent = 0;
      const cpuBefore = cpuTime("chromium");
      const began = performance.now();
      await tab.goto(`http://127.0.0.1:${counter.address().port}/#ssh://${sshd.user}@127.0.0.1:${sshd.port}`, { waitUntil: "commit" });
      await tab.locator("input[name=password]").fill(sshd.password);
      took.form.push(performance.now() - began);
      await tab.locator(".connect-button").click();
      await tab.locator(".xterm-rows", { hasText: "$" }).waitFor();
      took.shell.push(performance.now() - began);
      took.cpu.push(cpuTime("chromium") - cpuBefore);
      took.bytes.push(sent);
    } finally {
      await browser.close();
    }
  }
  t.diagnostic(`${(median(took.bytes) / 1e6).toFixed(2)} MB; ${median(took.cpu)} ms of CPU in the browser; the form after ${Math.round(median(took.form))} ms, a prompt of the shell after ${Math.round(median(took.shell))} ms (at best ${Math.round(took.shell[0])} ms)`);
});
