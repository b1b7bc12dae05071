import { test } from "node:test";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { startTarget } from "../../../client/js/test/support/peers.js";
import { connect, openShell, options, setup } from "./support/session.js";

test("bench", async (t) => {
  const { page, sshd, line, server } = await setup(t, { env: { LOG_LEVEL: "info" } });
  writeFileSync(`${sshd.home}/d.bin`, randomBytes(50 << 20));
  const sink = await startTarget(t, (socket) => { socket.resume(); socket.on("end", () => socket.end("k")); });
  const source = await startTarget(t, (socket) => { const b = Buffer.alloc(64<<10); let n = 0; const go = () => { while (n < 50<<20) { n += b.length; if (!socket.write(b)) return socket.once("drain", go); } socket.end(); }; go(); socket.resume(); });
  if (process.env.PROFILE) {
    page.cdp = await page.tab.context().newCDPSession(page.tab);
    page.cdp.on("Target.attachedToTarget", ({ sessionId }) => { page.sessionId = sessionId; });
    await page.cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
    await page.run(({ useWorker }) => useWorker("worker.js", { shared: false }));
  }
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  await openShell(page);
  const echo = await page.run(async ({ state }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24, command: "stty raw -echo; cat" });
    let got; shell.onData = () => got?.();
    await new Promise((r) => setTimeout(r, 500));
    const times = [];
    for (let i = 0; i < 100; i++) {
      const a = performance.now();
      const p = new Promise((r) => { got = r; });
      shell.write("x"); await p; times.push(performance.now() - a);
      await new Promise((r) => setTimeout(r, 20));
    }
    times.sort((a, b) => a - b);
    const ping = []; for (let i = 0; i < 20; i++) ping.push(await state.session.ping());
    ping.sort((a,b)=>a-b);
    return [times[50], times[95], ping[10]];
  });
  console.log("echo p50 p95, ping p50", echo);
  await page.run(async ({ state }) => { state.sftp = await state.session.sftp(); });
  const cdp = process.env.PROFILE ? await prof(page) : undefined;
  for (let i = 0; i < 2; i++) {
    const got = await page.run(async ({ state, randomBytes }) => {
      const bytes = randomBytes(50 << 20);
      const a = performance.now();
      await state.sftp.upload("up.bin", new Blob([bytes]));
      const b = performance.now();
      let n = 0;
      for await (const c of state.sftp.download("up.bin")) n += c.length;
      const c = performance.now();
      return [b - a, c - b].map((ms) => (50 / ms * 1000).toFixed(1) + " MB/s");
    });
    console.log("sftp up/down", got);
  }
  if (cdp) await cdp();
  const rel = await page.run(async ({ state }, { sink, source, url }) => {
    const worker = async () => {};
    return null;
  }, {});
});

import { writeFileSync as wf } from "node:fs";
async function prof(page) {
  const { cdp, sessionId } = page;
  let id = 0; const waits = new Map();
  cdp.on("Target.receivedMessageFromTarget", ({ message }) => { const m = JSON.parse(message); waits.get(m.id)?.(m.result); });
  const send = (method, params = {}) => new Promise((r) => { waits.set(++id, r); cdp.send("Target.sendMessageToTarget", { sessionId: page.sessionId, message: JSON.stringify({ id, method, params }) }); });
  await send("Profiler.enable"); await send("Profiler.setSamplingInterval", { interval: 500 }); await send("Profiler.start");
  return async () => { const { profile } = await send("Profiler.stop"); wf("/tmp/h/page/worker.cpuprofile", JSON.stringify(profile)); };
}
