// A port behind the SSH host, shared with the world by a page in a real
// Chromium, and used by curl, another browser, WebSockets and raw TCP.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import http from "node:http";
import { once } from "node:events";
import { test } from "node:test";
import { promisify } from "node:util";
import { WebSocket, WebSocketServer } from "ws";
import { startCutter } from "../../../client/js/test/support/cutter.js";
import { ask, closedPort, connectOutside, readAll, startTarget } from "../../../client/js/test/support/peers.js";
import { eventually, inTime } from "../../../client/js/test/support/wait.js";
import { openPage } from "./support/browser.js";
import { connect, options, setup } from "./support/session.js";

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const run = promisify(execFile);

/** A web server behind the SSH host. */
async function startService(t) {
  const streams = new Set();
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    if (pathname === "/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("data: first\n\n");
      streams.add(response);
      request.on("close", () => streams.delete(response));
      return;
    }
    if (pathname === "/hash") {
      const hash = createHash("sha256");
      for await (const piece of request) hash.update(piece);
      return response.writeHead(201).end(hash.digest("hex"));
    }
    if (pathname === "/missing") return response.writeHead(404).end("no");
    response.setHeader("Content-Type", "text/html").end(`<!doctype html><title>shared</title><p id="host">${request.headers.host}</p>`);
  });
  const sockets = new WebSocketServer({ server, path: "/echo" });
  sockets.on("connection", (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const client of sockets.clients) client.terminate();
    server.closeAllConnections();
    server.close();
  });
  return { port: server.address().port, streams };
}

/** A shared port, state.share. */
async function share(t, port, { cuts = false, more = {} } = {}) {
  const rig = await setup(t);
  const line = cuts ? await startCutter(t, rig.server) : rig.line;
  await connect(rig.page, { ...options(rig.sshd, line), keys: [{ privateKey: rig.sshd.privateKey }] });
  const view = await rig.page.run(async ({ state }, options) => {
    state.share = await state.session.sharePort(options);
    return state.share.view;
  }, { port, ...more });
  const look = () => rig.page.run(({ state }) => state.share.view);
  return { ...rig, line, view, look };
}

test("a web server is used from outside: GET, POST of 5 MB, SSE, WebSocket, twenty at once, another browser", async (t) => {
  const service = await startService(t);
  const { server, view, look, page } = await share(t, service.port);
  assert.deepEqual([view.state, view.port, view.counts.requests], ["open", service.port, 0]);
  const { hostname } = new URL(view.url);
  const base = `http://${hostname}:${server.port}`;

  // By curl.
  const curl = async (path, ...args) => (await run("curl", ["-sS", "--max-time", "60", "--resolve", `${hostname}:${server.port}:127.0.0.1`, ...args, `${base}${path}`])).stdout;
  assert.match(await curl("/?secret=1"), new RegExp(`>localhost:${service.port}<`));
  const body = randomBytes(5 << 20);
  assert.equal(await curl("/hash", "--data-binary", `@${writeTo(t, body)}`), digest(body));
  assert.equal((await ask(server, view.url, { path: "/missing" })).status, 404);

  // Twenty at once.
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => {
    const piece = randomBytes(1000 * i);
    return ask(server, view.url, { method: "POST", path: "/hash", body: piece }).then((answer) => assert.equal(String(answer.body), digest(piece)));
  }));
  assert.equal(answers.length, 20);

  // Events come as they are sent.
  const events = http.get({ host: "127.0.0.1", port: server.port, path: "/events", headers: { Host: `${hostname}:${server.port}` }, agent: false });
  const [response] = await inTime("events", once(events, "response"));
  assert.match(String(await inTime("an event", once(response, "data"))), /first/);
  for (const stream of service.streams) stream.write("data: second\n\n");
  assert.match(String(await inTime("an event", once(response, "data"))), /second/);
  events.destroy();
  await eventually("the service is told that the client has gone", () => service.streams.size === 0);

  // A WebSocket.
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/echo`, { headers: { Host: `${hostname}:${server.port}` } });
  await inTime("a WebSocket", once(socket, "open"));
  socket.send("hello");
  assert.equal(String((await inTime("an echo", once(socket, "message")))[0]), "hello");
  const big = randomBytes(300_000);
  socket.send(big);
  assert.equal(digest((await inTime("an echo", once(socket, "message")))[0]), digest(big));
  socket.close();
  await inTime("its end", once(socket, "close"));

  // Another browser.
  const other = await openPage(t);
  await other.tab.goto(`${base}/`);
  assert.equal(await other.tab.textContent("#host"), `localhost:${service.port}`);

  const seen = await eventually("the counts", async () => {
    const seen = await look();
    return seen.counts.requests >= 26 && seen;
  });
  assert.ok(seen.counts.bytesIn > 5 << 20, JSON.stringify(seen.counts));
  assert.ok(seen.counts.bytesOut > 300_000, JSON.stringify(seen.counts));
  const request = (method, path) => seen.requests.find((one) => one.method === method && one.path === path);
  assert.deepEqual([request("GET", "/missing").status, request("POST", "/hash").status, request("GET", "/echo").status, request("GET", "/events").status], [404, 201, 101, 200]);
  assert.ok(!JSON.stringify(seen.requests).includes("secret"));
  await page.run(({ state }) => state.share.close());
  assert.equal((await look()).state, "closed");
  assert.equal((await ask(server, view.url)).status, 404);
});

test("raw TCP: half-close by the peer, the service's end, and a reset", async (t) => {
  const broken = [];
  const echo = await startTarget(t, (socket) => {
    socket.on("error", (error) => broken.push(error.code));
    const parts = [];
    socket.on("data", (bytes) => parts.push(bytes)).on("end", () => socket.end(Buffer.concat(parts))); // answers when it has all
  });
  const { view, look } = await share(t, echo.port);
  assert.ok(view.rawPort > 0);
  const bytes = randomBytes(2 << 20);
  const socket = await connectOutside(t, view.rawPort);
  socket.end(bytes);
  assert.equal(digest(await readAll(socket)), digest(bytes));
  const sixteen = await Promise.all(Array.from({ length: 16 }, async (_, i) => {
    const socket = await connectOutside(t, view.rawPort);
    const bytes = randomBytes(i * 5000);
    socket.end(bytes);
    return digest(await readAll(socket)) === digest(bytes);
  }));
  assert.ok(sixteen.every(Boolean));
  const seen = await eventually("all are closed", async () => {
    const seen = await look();
    return seen.counts.open === 0 && seen.counts.connections === 17 && seen;
  });
  assert.equal(seen.counts.requests, 0);
  assert.ok(seen.counts.bytesIn >= 2 << 20 && seen.counts.bytesOut >= 2 << 20);
});

test("a port on which nobody listens is a 502, and says so until it is there", async (t) => {
  const nobody = await closedPort();
  const { server, view, look } = await share(t, nobody.port);
  assert.equal((await ask(server, view.url)).status, 502);
  const seen = await eventually("it is said", async () => {
    const seen = await look();
    return seen.message && seen;
  });
  t.diagnostic(seen.message);
  assert.ok(seen.message.includes(`can't reach localhost:${nobody.port}`), seen.message);
  const service = http.createServer((request, response) => response.end("here"));
  await new Promise((resolve) => service.listen(nobody.port, "127.0.0.1", resolve));
  t.after(() => service.close().closeAllConnections());
  assert.equal((await ask(server, view.url)).status, 200);
  await eventually("nothing is said any more", async () => (await look()).message === "");
});

test("a share goes on when the line was cut, and ends with its session", async (t) => {
  const service = await startService(t);
  const { server, view, look, line, page } = await share(t, service.port, { cuts: true });
  line.cut("rst");
  const body = randomBytes(1 << 20);
  assert.equal(String((await ask(server, view.url, { method: "POST", path: "/hash", body })).body), digest(body));
  await page.run(async ({ state }) => {
    state.session.close();
    await state.session.ended;
  });
  assert.equal((await look()).state, "closed");
  await eventually("the address leads nowhere", async () => (await ask(server, view.url)).status === 404);
});

test("a share that can't be had says why", async (t) => {
  const { page, sshd, line } = await setup(t, { env: { TUNNEL_DOMAIN: "" } });
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  const { error } = await page.run(({ state, outcome }) => outcome(state.session.sharePort({ port: 80 })));
  t.diagnostic(error.message);
  assert.match(error.message, /TUNNEL_DOMAIN/);
  const bad = await page.run(({ state, outcome }) => outcome(state.session.sharePort({ port: 70_000 })));
  assert.equal(bad.error.code, "protocol");
});

function writeTo(t, bytes) {
  const path = `${process.env.PAGE_TEST_FILES}/body-${process.pid}`;
  writeFileSync(path, bytes);
  return path;
}
