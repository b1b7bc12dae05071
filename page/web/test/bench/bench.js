// What the page costs beside the relay alone: `npm run bench`. It says figures
// and judges nothing; on a busy machine they say nothing either.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { build } from "esbuild";
import { startTarget } from "../../../../client/js/test/support/peers.js";
import { common } from "../../build.mjs";
import { connect, options, setup } from "../support/session.js";
import { cpuTime } from "./cpu.js";

const size = 50 << 20;
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const keys = (sshd) => [{ privateKey: sshd.privateKey }];

test("50 MB of files, and as much over a relay alone", async (t) => {
  const { page, sshd, line } = await setup(t, { env: { LOG_LEVEL: "info" } });
  const sink = await startTarget(t, (socket) => socket.resume().on("end", () => socket.end()));
  const source = await startTarget(t, (socket) => {
    const bytes = Buffer.alloc(64 << 10);
    let left = size;
    const send = () => {
      for (; left > 0; left -= bytes.length) if (!socket.write(bytes)) return socket.once("drain", () => { left -= bytes.length; send(); });
      socket.end();
    };
    socket.resume();
    send();
  });
  await connect(page, { ...options(sshd, line), keys: keys(sshd) });
  const { outputFiles: [{ text }] } = await build({
    ...common, write: false, format: "iife", globalName: "client",
    stdin: { contents: 'export * from "../../client/js/wsproxy.js"', resolveDir: common.absWorkingDir },
  });
  await page.tab.evaluate(`${text}; globalThis.client = client`);
  await page.run(async ({ state, randomBytes }, size) => {
    state.sftp = await state.session.sftp();
    state.blob = new Blob([randomBytes(size)]);
  }, size);
  const ways = {
    "file up": ({ state }) => state.sftp.upload("bench.bin", state.blob),
    "relay up": async (_, { url, sink, size }) => {
      const relay = await client.connectRelay({ url, ...sink });
      const writer = relay.writable.getWriter(), bytes = new Uint8Array(64 << 10);
      for (let left = size; left > 0; left -= bytes.length) await writer.write(bytes);
      await writer.close();
    },
    "file down": async ({ state }) => { for await (const bytes of state.sftp.download("bench.bin")) void bytes; },
    "relay down": async (_, { url, source }) => {
      const relay = await client.connectRelay({ url, ...source });
      for await (const bytes of relay.readable) void bytes;
    },
  };
  const took = {}, cost = {};
  for (let round = 0; round < 3; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const began = Date.now(), before = cpuTime();
      await page.run(way, { url: line.url, sink, source, size });
      (took[name] ??= []).push(Date.now() - began);
      (cost[name] ??= []).push(cpuTime() - before);
    }
  }
  for (const name of Object.keys(ways)) t.diagnostic(`${name}: ${(size / 1000 / median(took[name])).toFixed(1)} MB/s, ${median(cost[name])} ms of CPU in all`);
});

test("from a keystroke to its echo, beside ssh over the same relay", async (t) => {
  const { page, sshd, line, server } = await setup(t, { env: { LOG_LEVEL: "info" } });
  await connect(page, { ...options(sshd, line), keys: keys(sshd) });
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
