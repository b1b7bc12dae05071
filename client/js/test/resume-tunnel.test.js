// Tunnels whose sessions outlive their WebSocket, with a server that the test
// plays and lines that break.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { startCutter } from "./support/cutter.js";
import { openToProxy, Proxy } from "./support/proxy.js";
import { generator } from "./support/random.js";
import { startResumer } from "./support/resumer.js";
import { eventually, inTime } from "./support/wait.js";

const KiB = 1024;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A page whose tunnel notes what it is told, and a proxy whose WebSocket is a session. */
async function open(t, callbacks, { plan, isCut = false, resumer } = {}) {
  const got = { registered: 0 };
  const opened = await openToProxy(t, `{
    onDetached: () => (state.detached ??= []).push(state.tunnel?.state),
    onResumed: () => (state.resumed ??= []).push(state.tunnel?.state),
    onLost: (error) => (state.lost ??= []).push(page.told(error)),
    reconnect: { firstDelay: 20, maxDelay: 200 },
    ...${callbacks}
  }`, async (t) => {
    const server = got.server = await startResumer(t, resumer);
    const line = got.line = plan || isCut ? await startCutter(t, server, plan) : server;
    const proxy = new Proxy(line.url);
    server.onSession = (session) => {
      got.session = session;
      got.registered++;
      proxy.registered(session, new URLSearchParams(server.requests.at(-1).query));
    };
    return proxy;
  });
  return Object.assign(got, opened);
}

const told = (page) => page.run(({ state: { detached = [], resumed = [], lost = [], tunnel } }) => ({ detached, resumed, lost, state: tunnel.state, url: tunnel.url }));
const isResumed = (page) => page.run(({ state, until }) => until(() => state.resumed));
const echo = "{ onRequest: (request) => new Response(request.body), onConnection: ({ readable, writable }) => readable.pipeTo(writable) }";

/** A raw connection that sends so many bytes and gets them back. */
async function roundTrip(proxy, length) {
  const connection = proxy.open("tcp");
  const bytes = randomBytes(length);
  const hash = createHash("sha256");
  let left = length;
  const all = new Promise((resolve, reject) => {
    connection.on("data", (chunk) => {
      hash.update(chunk);
      left -= chunk.length;
      if (left === 0) resolve();
    }).on("error", reject);
  });
  connection.write(bytes);
  await inTime(`${length} bytes back`, all);
  connection.end();
  assert.equal(hash.digest("hex"), digest(bytes));
  await connection.whenClosed();
}

test("connections and requests go on after fin, rst and silence", async (t) => {
  for (const how of ["fin", "rst", "silence"]) {
    const { proxy, page, line, server, session } = await open(t, echo, { isCut: true });
    const connection = proxy.open("tcp");
    connection.write("before");
    assert.equal(String((await inTime("an echo", once(connection, "data")))[0]), "before");
    line.cut(how);
    connection.write("after");
    const asked = proxy.ask({ method: "POST", body: "question" });
    assert.equal(String((await inTime("an echo", once(connection, "data")))[0]), "after");
    assert.equal(String((await asked).body), "question");
    const { detached, resumed, lost, state } = await told(page);
    assert.deepEqual({ detached, resumed, lost, state }, { detached: ["detached"], resumed: ["connected"], lost: [], state: "connected" });
    const { query, protocols } = server.requests[1];
    assert.deepEqual(Object.keys(query), ["messages", "attempt"]);
    assert.deepEqual(protocols, ["wsproxy.resume", `resume.${session.token}`]);
    assert.equal(session.failure, undefined);
  }
});

test("many connections and requests, each byte once, however often the line is cut", async (t) => {
  const random = generator(7);
  let count = 0;
  const plan = () => {
    count++;
    const most = count % 6 === 0 ? 1000 : 200_000;
    return { direction: random.pick(["up", "down"]), bytes: 1 + random.below(most), how: count % 9 === 4 ? "silence" : random.pick(["fin", "rst"]) };
  };
  const { proxy, session, line, registered } = await open(t, echo, { plan });
  const trips = Array.from({ length: 20 }, (_, i) => roundTrip(proxy, 1 + i * 16 * KiB));
  const asks = Array.from({ length: 20 }, async (_, i) => {
    const body = randomBytes(i * 8 * KiB);
    const answer = await proxy.ask({ method: "POST", body });
    assert.equal(answer.status, 200);
    assert.equal(digest(answer.body), digest(body));
  });
  await Promise.all([...trips, ...asks]);
  assert.equal(session.failure, undefined);
  assert.equal(registered, 1);
  assert.ok(line.cuts.fin + line.cuts.rst > 3, JSON.stringify(line.cuts));
});

test("a session that is over is registered anew, if it is to be", async (t) => {
  const { page, server, session, proxy } = await open(t, echo);
  const first = session;
  first.end = { code: 4404 };
  first.drop();
  await eventually("another session", () => server.last !== first);
  await page.run(({ state, until }) => until(() => state.lost && state.tunnel.state === "connected"));
  assert.deepEqual((await told(page)).lost.map(({ code }) => code), [4404]);
  await roundTrip(proxy, 1000);
});

test("one that another client has taken over is not", async (t) => {
  const { page, session } = await open(t, echo);
  session.close(4001);
  const { error } = await page.run((page) => page.outcome(page.state.tunnel.closed));
  assert.equal(error.code, 4001);
  assert.equal((await told(page)).state, "closed");
});

test("close() ends a session at once, a detached one too", async (t) => {
  for (const isDetached of [false, true]) {
    const { page, server, session } = await open(t, echo);
    const ended = once(session, "end");
    if (isDetached) {
      server.onRequest = (socket) => {
        if (server.requests.length > 3) return false;
        socket.terminate();
        return true;
      };
      session.drop();
      await page.run(({ state, until }) => until(() => state.detached));
    }
    await page.run(({ state }) => state.tunnel.close());
    assert.equal((await told(page)).state, "closed");
    assert.deepEqual((await inTime("the end", ended))[0], { code: 3000 });
  }
});

test("more messages than may be under way wait, and none is lost", async (t) => {
  const { proxy, page, session } = await open(t, echo);
  session.holds = true;
  const connections = Array.from({ length: 100 }, () => proxy.open("tcp"));
  for (const connection of connections) connection.write("x");
  await eventually("the limit is used up", () => session.received === 64);
  session.drop();
  await isResumed(page);
  const all = connections.map((connection) => once(connection, "data"));
  assert.equal(session.received, 64);
  session.release();
  await inTime("the others", Promise.all(all.slice(70)));
  assert.ok(session.most <= 64);
  assert.equal(session.failure, undefined);
});
