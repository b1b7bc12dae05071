// What a keystroke takes in the page, beside ssh: `npm run bench`. It says figures
// and judges nothing; on a busy machine they say nothing either.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { connect, options, setup } from "../support/session.js";

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

test("from a keystroke to its echo, beside ssh over the same relay", async (t) => {
  const { page, sshd, line, server } = await setup(t, { env: { LOG_LEVEL: "info" } });
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  const inPage = await page.run(async ({ state, screen }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24, command: "stty raw -echo; echo ready; exec cat" });
    const out = screen(shell);
    await out.until("ready");
    const times = [];
    for (let i = 0; i < 200; i++) {
      const began = performance.now();
      await new Promise((resolve) => {
        shell.onData = () => resolve();
        void shell.write("x");
      });
      times.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return times;
  });
  writeFileSync(sshd.path("key"), sshd.privateKey, { mode: 0o600 });
  const ssh = spawn("ssh", ["-tt", "-F", "none", "-i", sshd.path("key"), "-p", String(sshd.port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
    "-o", "LogLevel=ERROR", "-o", `ProxyCommand=${process.env.WSPROXY_BINARY} connect ${server.ws} %h %p`, `${sshd.user}@${sshd.host}`, "stty raw -echo; echo ready; exec cat"],
  { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => ssh.kill());
  for (let text = ""; !text.includes("ready");) text += (await once(ssh.stdout, "data"))[0];
  const inSSH = [];
  for (let i = 0; i < 200; i++) {
    const began = performance.now();
    ssh.stdin.write("x");
    await once(ssh.stdout, "data");
    inSSH.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.diagnostic(`median in the page ${median(inPage).toFixed(1)} ms, by ssh ${median(inSSH).toFixed(1)} ms`);
});
