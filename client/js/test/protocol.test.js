// What a server may do that the real one does only in bad times, if at all: by
// a server that the test plays.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { openPage } from "./support/place.js";
import { inTime } from "./support/wait.js";

const window = 262_144;

/**
 * Plays the server of one tunnel, whose page has `handler` as onConnection and
 * answers each request with as many bytes as its path says.
 */
async function play(t, handler, ready = { window }, options = {}) {
  const listener = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  t.after(() => {
    for (const client of listener.clients) client.terminate();
    listener.close();
  });
  await once(listener, "listening");
  const wire = { messages: [], arrival: () => {} };
  listener.on("connection", (socket, request) => {
    Object.assign(wire, { socket, query: new URL(request.url, "ws://x").searchParams });
    socket.on("message", (data, isBinary) => {
      wire.messages.push(isBinary ? frameOf(data) : JSON.parse(data));
      wire.arrival();
    });
    send(wire, { type: "tunnel_ready", tunnelUrl: "http://t.example.com", rawPort: 1, ...ready });
  });
  const page = await openPage(t);
  wire.opening = page.run(async (page, { url, handler, options }) => {
    const { state } = page;
    state.errors = [];
    const { fresh, ...others } = options;
    if (fresh) others.token = () => fresh.shift();
    const onConnection = new Function("page", `return ${handler}`)(page);
    state.tunnel = await page.openTunnel({
      url,
      ...others,
      onReady: (address) => { state.ready = address; },
      onRequest: (request, info) => new Response("x".repeat(Number(info.path.slice(1)))),
      onConnection: (connection) => onConnection(connection, state),
      onError: (error) => state.errors.push(page.told(error)),
    });
  }, { url: `http://127.0.0.1:${listener.address().port}/`, handler, options });
  wire.opening.catch(() => {});
  return { page, wire };
}

const frameOf = (data) => ({ connId: String(data.subarray(4, 4 + data.readUInt32BE())), bytes: data.length - 4 - data.readUInt32BE() });
const send = (wire, message) => wire.socket.send(JSON.stringify(message));

function sendData(wire, connId, payload) {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(connId.length);
  wire.socket.send(Buffer.concat([header, Buffer.from(connId), payload]));
}

/** The page's next message. */
async function next(wire) {
  while (wire.messages.length === 0) {
    await inTime("a message of the page", new Promise((resolve) => { wire.arrival = resolve; }));
  }
  return wire.messages.shift();
}

const state = (page, name) => page.run(async (page, name) => {
  await page.until(() => page.state[name] !== undefined);
  return page.state[name];
}, name);

test("the page gives credit for what was read, and for nothing else", async (t) => {
  const { page, wire } = await play(t, `({readable}, state) => { state.reader = readable.getReader(); }`);
  await wire.opening;
  assert.equal(wire.query.get("flow"), "credit");
  assert.equal(wire.query.get("control"), "text");
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  sendData(wire, "ffff", Buffer.alloc(100)); // nobody has opened it
  send(wire, { type: "tcp_credit", connId: "ffff", bytes: 1 });
  send(wire, { type: "of a later version" });
  for (let i = 0; i < 8; i++) sendData(wire, "a1", Buffer.alloc(window / 8));
  const read = (count) => page.run(async ({ state }, count) => {
    for (let i = 0; i < count; i++) await state.reader.read();
  }, count);
  await page.run((page) => page.until(() => page.state.reader));
  await read(1);
  assert.deepEqual(wire.messages, [], "nothing that is worth a message was read");
  await read(1);
  assert.deepEqual(await next(wire), { type: "tcp_credit", connId: "a1", bytes: window / 4 });
  await read(6);
  let given = window / 4;
  while (given < window) given += (await next(wire)).bytes;
  assert.equal(given, window);
  assert.deepEqual(wire.messages, []);
});

test("the page sends within its credit", async (t) => {
  const { wire } = await play(t, `async ({writable}) => {
    const writer = writable.getWriter();
    await writer.write(new Uint8Array(${window + 100_000}));
    await writer.close();
  }`);
  await wire.opening;
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  let sent = 0;
  while (sent < window) sent += (await next(wire)).bytes;
  assert.equal(sent, window);
  assert.deepEqual(wire.messages, []);
  send(wire, { type: "tcp_credit", connId: "a1", bytes: 99_999 });
  while (sent < window + 99_999) sent += (await next(wire)).bytes;
  assert.equal(sent, window + 99_999);
  send(wire, { type: "tcp_credit", connId: "a1", bytes: 65_536 });
  assert.deepEqual(await next(wire), { connId: "a1", bytes: 1 });
  assert.deepEqual(await next(wire), { type: "tcp_close", connId: "a1" });
});

test("credit that widens the window counts whole", async (t) => {
  const total = 4 * window;
  const { wire } = await play(t, `async ({writable}) => {
    const writer = writable.getWriter();
    await writer.write(new Uint8Array(${total}));
    await writer.close();
  }`);
  await wire.opening;
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  for (const bytes of [undefined, "1", -1, 0, 0.5]) send(wire, { type: "tcp_credit", connId: "a1", bytes }); // none
  send(wire, { type: "tcp_credit", connId: "a1", bytes: 3 * window });
  for (let sent = 0; sent < total;) sent += (await next(wire)).bytes;
  assert.deepEqual(await next(wire), { type: "tcp_close", connId: "a1" });
});

test("small messages that wait are gathered", async (t) => {
  const { page, wire } = await play(t, `({readable, id}, state) => { state[id] = readable; }`);
  await wire.opening;
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  const sent = Buffer.from(Array.from({ length: 40_000 }, (_, i) => i % 251));
  for (let i = 0; i < 20_000; i++) sendData(wire, "a1", sent.subarray(i, i + 1));
  sendData(wire, "a1", sent.subarray(20_000, 39_999)); // one that is large
  sendData(wire, "a1", sent.subarray(39_999));
  send(wire, { type: "tcp_close", connId: "a1", reason: "eof" });
  send(wire, { type: "tcp_open", connId: "b2", remoteAddr: "192.0.2.1:2" });
  const lengths = await page.run(async ({ state, until }) => {
    await until(() => state.b2); // so all of the first has come
    const chunks = [];
    const reader = state.a1.getReader();
    for (let next; !(next = await reader.read()).done;) chunks.push(next.value);
    state.read = [...new Uint8Array(await new Blob(chunks).arrayBuffer())];
    return chunks.map((chunk) => chunk.length);
  });
  assert.deepEqual(lengths, [16_384, 3_616, 19_999, 1]);
  assert.deepEqual(Buffer.from(await page.run(({ state }) => state.read)), sent);
});

test("an answer that there is no room for in time is given up", async (t) => {
  const { page, wire } = await play(t, "() => {}", { window }, { requestTimeout: 3000, maxBody: 32 << 20 });
  await wire.opening;
  wire.socket.pause();
  const large = 16 << 20; // more than the kernels on the way take
  send(wire, { type: "http_request", id: "r1", method: "GET", path: `/${large}`, headers: {}, body: "" });
  send(wire, { type: "http_request", id: "r2", method: "GET", path: "/5", headers: {}, body: "" });
  await page.run(({ state, until }) => until(() => state.errors.length > 0));
  const errors = await page.run(({ state }) => state.errors);
  assert.deepEqual(errors.map(({ name }) => name), ["TimeoutError"]);
  wire.socket.resume();
  const [first, second] = [await next(wire), await next(wire)];
  assert.deepEqual([first.id, first.status], ["r1", 200]);
  assert.deepEqual([second.id, second.status], ["r2", 504]);
});

test("a server that sends more than its credit loses that connection", async (t) => {
  const { page, wire } = await play(t, `({readable}, state) => { state.reader = readable.getReader(); }`);
  await wire.opening;
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  for (let i = 0; i < 4; i++) sendData(wire, "a1", Buffer.alloc(window / 4));
  sendData(wire, "a1", Buffer.alloc(1));
  assert.deepEqual(await next(wire), { type: "tcp_close", connId: "a1" });
  const { error } = await page.run((page) => page.outcome(page.state.reader.read()));
  assert.match(error.message, /more than it had credit for/);
});

test("every reason of a tcp_close but eof errors both streams", async (t) => {
  const { page, wire } = await play(t, `async ({readable, writable, id}, state) => {
    const writing = page.outcome(writable.getWriter().write(new Uint8Array(${window + 1})));
    const reading = await page.outcome(readable.getReader().read());
    state[id] = [reading.error, (await writing).error];
  }`);
  await wire.opening;
  for (const reason of ["reset", "limit", "slow", "unknown", "restart", "shutdown", "of a later version", undefined]) {
    const connId = `c${reason}`.replaceAll(" ", "");
    send(wire, { type: "tcp_open", connId, remoteAddr: "192.0.2.1:1" });
    for (let sent = 0; sent < window;) sent += (await next(wire)).bytes;
    send(wire, { type: "tcp_close", connId, reason });
    for (const error of await state(page, connId)) {
      assert.equal(error.name, "WsproxyError");
      assert.equal(error.reason, reason ?? "");
      assert.doesNotMatch(error.message, /undefined/);
    }
  }
  assert.deepEqual(wire.messages, [], "a connection that is gone needs no answer");
});

test("eof, and then a second tcp_close", async (t) => {
  const { page, wire } = await play(t, `async ({readable, writable}, state) => {
    state.read = (await page.readAll(readable)).length;
    state.writing = await page.outcome(writable.getWriter().write(new Uint8Array(${window + 1})));
  }`);
  await wire.opening;
  send(wire, { type: "tcp_open", connId: "a1", remoteAddr: "192.0.2.1:1" });
  sendData(wire, "a1", Buffer.alloc(1000));
  sendData(wire, "a1", Buffer.alloc(0));
  send(wire, { type: "tcp_close", connId: "a1", reason: "eof" });
  assert.equal(await state(page, "read"), 1000);
  for (let sent = 0; sent < window;) sent += (await next(wire)).bytes;
  send(wire, { type: "tcp_close", connId: "a1", reason: "reset" });
  assert.equal((await state(page, "writing")).error.reason, "reset");
});

test("what the server says of the tunnel, or does not", async (t) => {
  for (const said of [{ rawHost: "t.example.com", credentials: true }, { rawHost: "t.example.com", credentials: false }, {}]) {
    const { page, wire } = await play(t, "() => {}", { window, ...said });
    await wire.opening;
    const { told, ready } = await page.run(({ state: { tunnel, ready } }) => {
      const { url, rawPort, rawHost, credentials } = tunnel;
      return { told: { url, rawPort, rawHost, credentials }, ready };
    });
    const want = { url: "http://t.example.com", rawPort: 1, ...said };
    assert.deepEqual(JSON.parse(JSON.stringify(told)), want);
    assert.deepEqual(JSON.parse(JSON.stringify(ready)), want);
  }
});

test("a tunnel that another client has taken over is not registered anew", async (t) => {
  const { page, wire } = await play(t, "() => {}", { window }, { reconnect: true });
  await wire.opening;
  wire.socket.close(4001, "taken over");
  const { error } = await page.run((page) => page.outcome(page.state.tunnel.closed));
  assert.equal(error.code, 4001);
  assert.match(error.message, /taken over/);
});

test("a server that speaks another protocol", async (t) => {
  const { wire } = await play(t, "() => {}", {});
  await assert.rejects(wire.opening, /does not speak flow=credit/);
  for (const garbage of ["{", "null", Buffer.from([0, 0])]) {
    const other = await play(t, "() => {}");
    await other.wire.opening;
    other.wire.socket.send(garbage);
    const { error } = await other.page.run((page) => page.outcome(page.state.tunnel.closed));
    assert.match(error.message, /not of the wsproxy protocol/);
  }
});

test("a tunnel whose token expires shows a fresh one, if the page has a function for that", async (t) => {
  const { wire } = await play(t, "undefined", undefined, { fresh: ["first", "second"] });
  await wire.opening;
  send(wire, { type: "auth_expires", in: 60 });
  assert.deepEqual(await next(wire), { type: "auth", token: "second" });
  send(wire, { type: "auth_ok", exp: 1 }); // and what it doesn't know does no harm
  send(wire, { type: "auth_expires", in: 60 }); // there is no third
  send(wire, { type: "tcp_open", connId: "c1", protocol: "unknown" });
  assert.deepEqual(await next(wire), { type: "tcp_close", connId: "c1" });
});
