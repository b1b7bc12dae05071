// MB/s through the page, beside a plain WebSocket in the same Chromium: `npm run bench`. It says figures and
// judges nothing; on a busy machine they say nothing either. ROUNDS=5 of each way, by turns. ONLY='file' leaves
// out all other ways but the plain echo.
//
// The measure is a plain echo: messages of 64 KiB to a server that sends each one back, up to 64 of them under way. Its rate
// is that of one direction: 50 MiB in a second are 52 MB/s, though each byte has gone both ways in that time. What goes in
// one direction has less to do, and is compared with a plain WebSocket of that direction as well.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { WebSocketServer } from "ws";
import { startTarget } from "../../../../client/js/test/support/peers.js";
import { common } from "../../build.mjs";
import { connect, options, setup } from "../support/session.js";
import { cpuTime } from "./cpu.js";

const size = 50 << 20;
const piece = 64 << 10;
const rounds = Number(process.env.ROUNDS || 3);
const only = new RegExp(process.env.ONLY || ".");
/** Where a file is in memory: it is not the disk that is to be measured. */
const memory = "/dev/shm";

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

const inWorker = async ({ state }, args) => {
  const error = await new Promise((resolve) => {
    state.bench.port.onmessage = ({ data }) => resolve(data);
    state.bench.port.postMessage({ way: args.way, args });
  });
  if (error) throw new Error(error);
};

/** Each way moves `size` bytes, and is called in the page. */
const ways = {
  "plain echo": inWorker, "plain up": inWorker, "plain down": inWorker,
  "relay echo": inWorker, "relay up": inWorker, "relay down": inWorker,
  "command up": async ({ state }, { size, piece }) => {
    const shell = await state.session.shell({ term: "", command: "cat > /dev/null", cols: 80, rows: 24 });
    shell.onData = () => {};
    const underWay = [];
    for (let left = size; left > 0; left -= piece) {
      underWay.push(shell.write(new Uint8Array(piece)));
      if (underWay.length > 16) await underWay.shift();
    }
    await Promise.all(underWay);
    await shell.closeInput();
    await shell.closed;
  },
  "command down": async ({ state }, { size }) => {
    const shell = await state.session.shell({ term: "", command: `head -c ${size} /dev/zero`, cols: 80, rows: 24 });
    let came = 0;
    shell.onData = ({ length }) => { came += length; };
    await shell.closed;
    if (came !== size) throw new Error(`${came} bytes came`);
  },
  "file up": ({ state }, { path }) => state.sftp.upload(path, state.blob),
  "file down": async ({ state }, { path, size }) => {
    let came = 0;
    for await (const bytes of state.sftp.download(path)) came += bytes.length;
    if (came !== size) throw new Error(`${came} bytes came`);
  },
};

test("MB/s through the page, beside a plain WebSocket", async (t) => {
  const { page, sshd, line } = await setup(t, { env: { LOG_LEVEL: "info" } });
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  await build({ ...common, format: "iife", entryPoints: ["test/support/rates_worker.js"], outfile: join(process.env.PAGE_TEST_FILES, "rates_worker.js") });
  await page.run(async ({ state, randomBytes }, size) => {
    state.bench = new SharedWorker("rates_worker.js");
    state.sftp = await state.session.sftp();
    state.blob = new Blob([randomBytes(size)]);
  }, size);
  const path = existsSync(memory) ? `${memory}/wsproxy-bench-${process.pid}` : "bench.bin";
  t.after(() => rmSync(path, { force: true }));
  const args = {
    url: line.url, size, piece, path,
    plain: await startPlain(t),
    echo: await startTarget(t, (socket) => socket.pipe(socket)),
    sink: await startTarget(t, (socket) => socket.resume().on("end", () => socket.end())),
    source: await startTarget(t, (socket) => source(socket)),
  };
  // What is downloaded has to be there.
  const measured = Object.keys(ways).filter((way) => way === "plain echo" || only.test(way) || (way === "file up" && only.test("file down")));
  const rate = {}, cost = {};
  for (let round = 0; round <= rounds; round++) {
    for (const way of measured) {
      const began = performance.now(), before = cpuTime("chromium");
      await page.run(ways[way], { ...args, way });
      if (round === 0) continue; // until then the browser compiles
      (rate[way] ??= []).push(size / 1000 / (performance.now() - began));
      (cost[way] ??= []).push((cpuTime("chromium") - before) / (size / 1e6));
    }
  }
  t.diagnostic("| way | MB/s | lowest to highest | to the plain echo | to a plain WebSocket of that direction | CPU of the browser, s per GB |");
  t.diagnostic("| --- | --- | --- | --- | --- | --- |");
  for (const way of measured) {
    const to = (other) => (rate[other] ? median(rate[way].map((value, i) => value / rate[other][i])).toFixed(2) : "-");
    t.diagnostic(`| ${[
      way, median(rate[way]).toFixed(1), `${Math.min(...rate[way]).toFixed(1)} to ${Math.max(...rate[way]).toFixed(1)}`,
      to("plain echo"), to(`plain ${way.split(" ")[1]}`), median(cost[way]).toFixed(1),
    ].join(" | ")} |`);
  }
});

/** The server of plain WebSockets: it sends each message back, or an empty one for it, or all of them. */
async function startPlain(t) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  t.after(() => server.close());
  server.on("connection", async (socket, { url }) => {
    socket.on("message", (bytes) => socket.send(url === "/echo" ? bytes : ""));
    if (url !== "/down") return;
    const bytes = Buffer.alloc(piece);
    for (let left = size; left > 0; left -= piece) {
      const sent = new Promise((resolve) => socket.send(bytes, resolve));
      if (socket.bufferedAmount > 1 << 20) await sent;
    }
  });
  await new Promise((resolve) => server.on("listening", resolve));
  return `ws://127.0.0.1:${server.address().port}`;
}

/** Sends all of it, and then the end. */
async function source(socket) {
  const bytes = Buffer.alloc(piece);
  socket.resume();
  for (let left = size; left > 0; left -= piece) if (!socket.write(bytes)) await new Promise((resolve) => socket.once("drain", resolve));
  socket.end();
}
