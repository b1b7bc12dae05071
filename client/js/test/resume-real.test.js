// Sessions that outlive their WebSocket, with the real server and lines that
// break. What it does only in bad times is in resume.test.js.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { startCutter } from "./support/cutter.js";
import { ask, connectOutside, readAll, readBytes, startHandTarget, startTarget } from "./support/peers.js";
import { openPage } from "./support/place.js";
import { generator } from "./support/random.js";
import { startServer } from "./support/server.js";
import { startIssuer } from "./support/tokens.js";
import { eventually, inTime } from "./support/wait.js";

const KiB = 1024, MiB = 1024 * KiB;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Cuts of chance: some within the handshake, some behind it, some far behind it. */
function cuts(seed, most) {
  const random = generator(seed);
  let count = 0;
  return () => {
    count++;
    const bytes = 1 + random.below(count % 6 === 0 ? 1000 : most);
    return { direction: random.pick(["up", "down"]), bytes, how: count % 9 === 4 ? "silence" : random.pick(["fin", "rst"]) };
  };
}

/** A relay in a page, to a target of this machine. */
async function connect(t, target, { plan, env, options = {} } = {}) {
  const page = await openPage(t);
  const server = await startServer(t, env);
  const line = await startCutter(t, server, plan);
  await page.run(async (page, { url, host, port, options }) => {
    const { state } = page;
    Object.assign(state, { detached: [], resumed: [] });
    state.relay = await page.connectRelay({
      url, host, port, ...options,
      onDetached: (error) => state.detached.push(page.told(error)),
      onResumed: (told) => state.resumed.push(told),
    });
  }, { url: line.url, ...target, options });
  return { page, server, line };
}

test("a relay's bytes come once and in order, however often the line is cut", async (t) => {
  const target = await startTarget(t, (socket) => socket.pipe(socket));
  for (const seed of [11, 12]) {
    const { page, line } = await connect(t, target, { plan: cuts(seed, 700_000) });
    const got = await page.run(async (page, length) => {
      const { relay } = page.state;
      const sent = page.randomBytes(length);
      const writing = page.writeAll(relay.writable, sent, 50_000);
      const received = await page.readAll(relay.readable);
      await writing;
      return { sent: await page.sha256(sent), received: await page.sha256(received), closed: await page.outcome(relay.closed) };
    }, 6 * MiB);
    assert.equal(got.received, got.sent, `seed ${seed}`);
    assert.deepEqual(got.closed.value, { code: 1000, reason: "" });
    assert.ok(line.cuts.fin + line.cuts.rst > 5, JSON.stringify(line.cuts));
  }
});

test("it is back within five seconds when the network has changed without a word", async (t) => {
  const target = await startTarget(t, (socket) => socket.pipe(socket));
  const { page, line } = await connect(t, target);
  const took = await page.run(async (page) => {
    const { state } = page;
    state.writer = state.relay.writable.getWriter();
    state.reader = state.relay.readable.getReader();
    await state.writer.write(page.encode("before"));
    return new TextDecoder().decode((await state.reader.read()).value);
  });
  assert.equal(took, "before");
  assert.equal(line.cut("silence"), 1);
  const start = Date.now();
  const text = await page.run(async (page) => {
    const { state } = page;
    await state.writer.write(page.encode("after"));
    return new TextDecoder().decode((await state.reader.read()).value);
  });
  assert.equal(text, "after");
  assert.ok(Date.now() - start < 5000, `${Date.now() - start} ms`);
});

test("a page that does not read holds its target up within the limit", async (t) => {
  const target = await startHandTarget(t);
  const { page } = await connect(t, target, { options: { maxUnread: 1 << 20 } });
  const socket = await target.next();
  const bytes = randomBytes(64 * MiB), piece = 64 * KiB;
  let gone = 0;
  const send = () => {
    if (gone === bytes.length) return socket.end();
    socket.write(bytes.subarray(gone, gone + piece), send);
    gone += piece;
  };
  send();
  // Until nothing has gone out for a while.
  let last = -1, since = Date.now();
  await eventually("the target is held up", () => {
    if (gone !== last) [last, since] = [gone, Date.now()];
    return Date.now() - since > 1000;
  });
  // The page's limit, what the server keeps, and what the kernels take on the way.
  t.diagnostic(`${gone / MiB} MiB have gone out`);
  assert.ok(gone < 24 * MiB, `${gone / MiB} MiB have gone out`);
  const got = await page.run(async (page) => {
    const { relay } = page.state;
    return page.sha256(await page.readAll(relay.readable));
  });
  assert.equal(got, digest(bytes));
});

test("closing writable is a half-close of the target", async (t) => {
  const target = await startHandTarget(t);
  const { page, line } = await connect(t, target);
  const writing = page.run((page) => page.writeAll(page.state.relay.writable, page.encode("all of it"), 4));
  const socket = await target.next();
  const ended = once(socket, "end");
  assert.equal(String(await readBytes(socket, 9)), "all of it");
  await writing;
  socket.resume();
  await inTime("the end of the page's side", ended);
  line.cut("rst");
  socket.end("an answer");
  assert.equal(await page.run((page) => page.readText(page.state.relay.readable)), "an answer");
  assert.deepEqual((await page.run((page) => page.outcome(page.state.relay.closed))).value, { code: 1000, reason: "" });
});

test("aborting resets the target, while detached too", async (t) => {
  for (const isDetached of [false, true]) {
    const target = await startHandTarget(t);
    const { page, line } = await connect(t, target);
    await page.run(async (page) => {
      page.state.writer = page.state.relay.writable.getWriter();
      await page.state.writer.write(page.encode("half"));
    });
    const socket = await target.next();
    socket.resume();
    await eventually("it arrives", () => socket.bytesRead === 4);
    const broken = once(socket, "error").then(([error]) => error.code, () => "");
    if (isDetached) line.cut("rst");
    await page.run(async ({ state }) => state.writer.abort(new RangeError("no more")));
    assert.equal(await inTime("the reset", broken), "ECONNRESET");
  }
});

test("a relay whose server was started anew is over", async (t) => {
  const target = await startTarget(t, (socket) => socket.resume());
  const { page, server } = await connect(t, target);
  const { port } = server;
  await server.kill();
  await page.run(({ state, until }) => until(() => state.detached.length > 0));
  await startServer(t, { PORT: String(port) });
  const { error } = await page.run((page) => page.outcome(page.state.relay.closed));
  assert.deepEqual([error.name, error.code], ["WsproxyError", 4404]);
});

test("a user takes sessions up with fresh tokens, and waits until they are good", async (t) => {
  const issuer = await startIssuer(t);
  const page = await openPage(t);
  const target = await startTarget(t, (socket) => socket.pipe(socket));
  const server = await startServer(t, { CLERK_JWKS_URL: issuer.jwks });
  const line = await startCutter(t, server);
  const tokens = [issuer.token(), "bad", "worse", issuer.token()];
  await page.run(async (page, { url, host, port, tokens }) => {
    const { state } = page;
    state.resumed = 0;
    state.relay = await page.connectRelay({ url, host, port, token: () => tokens.shift(), onResumed: () => state.resumed++ });
    state.tokens = tokens;
  }, { url: line.url, ...target, tokens });
  line.cut("rst");
  const got = await page.run(async (page) => {
    const { state } = page;
    await page.until(() => state.resumed === 1);
    await state.relay.writable.getWriter().write(page.encode("here"));
    return { text: new TextDecoder().decode((await state.relay.readable.getReader().read()).value), tokens: state.tokens.length };
  });
  assert.deepEqual(got, { text: "here", tokens: 0 });
});

/** A tunnel in a page. */
async function openTunnel(t, callbacks, plan) {
  const page = await openPage(t);
  const server = await startServer(t);
  const line = await startCutter(t, server, plan);
  const { url, rawPort } = await page.run(async (page, { url, callbacks }) => {
    const { state } = page;
    Object.assign(state, { detached: [], resumed: [], lost: [], ready: [], errors: [] });
    state.tunnel = await page.openTunnel({
      url,
      reconnect: { firstDelay: 20, maxDelay: 200 },
      onDetached: (error) => state.detached.push(page.told(error)),
      onResumed: (told) => state.resumed.push(told),
      onLost: (error) => state.lost.push(page.told(error)),
      onReady: (address) => state.ready.push(address),
      onError: (error) => state.errors.push(page.told(error)),
      ...new Function("page", "state", `return ${callbacks}`)(page, state),
    });
    return { url: state.tunnel.url, rawPort: state.tunnel.rawPort };
  }, { url: line.url, callbacks });
  return { page, server, line, url, rawPort };
}

const echo = "{ onRequest: (request) => new Response(request.body), onConnection: ({ readable, writable }) => readable.pipeTo(writable) }";

test("a tunnel's connections and requests go on, however often the line is cut", async (t) => {
  const { page, server, line, url, rawPort } = await openTunnel(t, echo, cuts(21, 300_000));
  const trips = Array.from({ length: 10 }, async (_, i) => {
    const socket = await connectOutside(t, rawPort);
    const bytes = randomBytes(1 + i * 40 * KiB);
    socket.end(bytes);
    assert.equal(digest(await readAll(socket)), digest(bytes));
  });
  const asks = Array.from({ length: 20 }, async (_, i) => {
    const body = randomBytes(i * 20 * KiB);
    const answer = await ask(server, url, { method: "POST", body });
    assert.equal(answer.status, 200);
    assert.equal(digest(answer.body), digest(body));
  });
  await Promise.all([...trips, ...asks]);
  const got = await page.run(({ state: { lost, errors, tunnel } }) => ({ lost, errors, url: tunnel.url, rawPort: tunnel.rawPort }));
  assert.deepEqual(got, { lost: [], errors: [], url, rawPort });
  assert.ok(line.cuts.fin + line.cuts.rst > 3, JSON.stringify(line.cuts));
});

test("a tunnel whose server was started anew is registered anew", async (t) => {
  const { page, server } = await openTunnel(t, echo);
  const { port } = server;
  await server.kill();
  await page.run(({ state, until }) => until(() => state.detached.length > 0));
  assert.equal(await page.run(({ state }) => state.tunnel.state), "detached");
  const second = await startServer(t, { PORT: String(port) });
  const got = await page.run(async ({ state, until }) => {
    await until(() => state.ready.length === 2);
    return { lost: state.lost.map(({ code }) => code), url: state.tunnel.url, state: state.tunnel.state };
  });
  assert.deepEqual([got.lost, got.state], [[4404], "connected"]);
  assert.equal(String((await ask(second, got.url, { method: "POST", body: "here" })).body), "here");
});
