import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { ask, connectOutside, readAll } from "./support/peers.js";
import { openPage } from "./support/place.js";
import { startServer } from "./support/server.js";
import { eventually, inTime } from "./support/wait.js";

const MiB = 1 << 20;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * A server and a page with a tunnel, whose connections are handled by
 * state.handlers[number of the connection], or the last of them.
 *
 * @param {string} handlers code of the page: an array of functions (connection, state) => unknown
 */
async function setUp(t, handlers, env, resume = true) {
  const [server, page] = await Promise.all([startServer(t, env), openPage(t)]);
  const { url, rawPort } = await page.run(async (page, { url, handlers, resume }) => {
    const { state } = page;
    Object.assign(state, { errors: [], count: 0 });
    const list = new Function("page", `return ${handlers}`)(page);
    state.tunnel = await page.openTunnel({
      url,
      resume,
      onError: (error) => state.errors.push(page.told(error)),
      onRequest: () => new Response("still here"),
      onConnection: (connection) => list[Math.min(state.count++, list.length - 1)](connection, state),
    });
    return state.tunnel;
  }, { url: server.ws, handlers, resume });
  let connected = 0;
  const connect = async () => {
    const socket = await connectOutside(t, rawPort);
    // The page numbers connections as they come.
    await page.run((page, count) => page.until(() => page.state.count >= count), ++connected);
    return socket;
  };
  return { server, page, url, connect };
}

/** What the page has noted under a name, as soon as it is there. */
function noted(page, name) {
  return page.run(async (page, name) => {
    await page.until(() => page.state[name] !== undefined);
    return page.state[name];
  }, name);
}

/** Lets a handler that waits for it go on. */
function goOn(page) {
  return page.run(async ({ state }) => { state.goOn = true; });
}

test("5 MiB come back over each of four connections", async (t) => {
  const { page, connect } = await setUp(t, "[({readable, writable}) => readable.pipeTo(writable)]");
  const sockets = await Promise.all(Array.from({ length: 4 }, connect));
  await Promise.all(sockets.map(async (socket) => {
    const sent = randomBytes(5 * MiB);
    socket.end(sent);
    assert.equal(digest(await readAll(socket)), digest(sent));
  }));
  const errors = await page.run(({ state }) => state.errors);
  assert.deepEqual(errors, []);
});

test("the page speaks first and ends first", async (t) => {
  const { page, connect } = await setUp(t, `[async ({readable, writable, remoteAddr, id}, state) => {
    const writer = writable.getWriter();
    await writer.write(page.encode("220 "));
    await writer.write(page.encode("hello").buffer);
    await writer.close();
    const rest = await page.readText(readable);
    state.got = { remoteAddr, id, rest };
  }]`);
  const socket = await connect();
  const { localPort } = socket;
  assert.equal(String(await readAll(socket)), "220 hello");
  const got = await noted(page, "got");
  assert.equal(got.remoteAddr, `127.0.0.1:${localPort}`);
  assert.match(got.id, /^[0-9a-f]{12}$/);
  assert.equal(got.rest, "");
});

test("a peer that ends its side gets its answer all the same", async (t) => {
  const { connect } = await setUp(t, `[async ({readable, writable}) => {
    const question = await page.readText(readable);
    const writer = writable.getWriter();
    for (let i = 0; i < 20; i++) await writer.write(page.encode((question + i + ";").padEnd(50_000)));
    await writer.close();
  }]`);
  const socket = await connect();
  socket.end("question ");
  const answer = String(await readAll(socket));
  assert.equal(answer.length, 20 * 50_000);
  assert.ok(answer.startsWith("question 0;") && answer.includes("question 19;"));
});

test("a connection that the page does not read holds up no other", async (t) => {
  const { server, page, url, connect } = await setUp(t, `[
    async ({readable, writable}, state) => {
      await page.until(() => state.goOn);
      const bytes = await page.readAll(readable);
      await writable.close();
      state.got = await page.sha256(bytes);
    },
    ({readable, writable}) => readable.pipeTo(writable),
  ]`);
  const slow = await connect();
  const sent = randomBytes(32 * MiB); // more than all kernels on the way take
  const sending = new Promise((resolve) => slow.end(sent, resolve));
  await eventually("the slow connection is held up", () => slow.bytesWritten > 0 && slow.writableLength > 0);
  for (let round = 0; round < 3; round++) {
    const quick = await connect();
    const bytes = randomBytes(MiB);
    quick.end(bytes);
    assert.equal(digest(await readAll(quick)), digest(bytes));
    assert.equal(String((await ask(server, url)).body), "still here");
  }
  assert.ok(slow.writableLength > 0, "the slow connection was not held up");
  await goOn(page);
  await sending;
  assert.equal(await noted(page, "got"), digest(sent));
});

test("a peer that does not read holds up no other", async (t) => {
  const { server, page, url, connect } = await setUp(t, `[
    async ({writable}, state) => {
      const bytes = page.randomBytes(${16 * MiB});
      state.sent = await page.sha256(bytes);
      state.accepted = 0;
      const writer = writable.getWriter();
      for (let i = 0; i < bytes.length; i += 200_000) {
        const chunk = bytes.subarray(i, i + 200_000);
        await writer.write(chunk);
        state.accepted += chunk.length;
      }
      await writer.close();
    },
    ({readable, writable}) => readable.pipeTo(writable),
  ]`);
  const slow = (await connect()).pause();
  for (let round = 0; round < 3; round++) {
    const quick = await connect();
    const bytes = randomBytes(MiB);
    quick.end(bytes);
    assert.equal(digest(await readAll(quick)), digest(bytes));
    assert.equal(String((await ask(server, url)).body), "still here");
  }
  const accepted = await page.run(({ state }) => state.accepted);
  assert.ok(accepted < 16 * MiB, "a peer that does not read took everything");
  const received = await readAll(slow);
  assert.equal(digest(received), await noted(page, "sent"));
});

test("what comes after readable was cancelled is dropped, and the answer arrives", async (t) => {
  const { page, connect } = await setUp(t, `[async ({readable, writable}, state) => {
    const reader = readable.getReader();
    await reader.read();
    await reader.cancel();
    await page.until(() => state.goOn);
    const writer = writable.getWriter();
    await writer.write(page.encode("enough"));
    await writer.close();
  }]`);
  const socket = await connect();
  // Far more than a window. The page answers only when all of it was taken.
  await new Promise((resolve) => socket.write(randomBytes(4 * MiB), resolve));
  await goOn(page);
  assert.equal(String(await readAll(socket)), "enough");
});

test("a peer that resets is an error of both streams, and no news for onError", async (t) => {
  const { page, connect } = await setUp(t, `[async ({readable, writable}, state) => {
    const reader = readable.getReader();
    await reader.read();
    const reading = await page.outcome(reader.read());
    const writing = await page.outcome(writable.getWriter().write(page.encode("late")));
    state.got = [reading.error, writing.error];
    await reader.read();
  }]`);
  const socket = await connect();
  await new Promise((resolve) => socket.write("x", resolve));
  socket.resetAndDestroy();
  for (const error of await noted(page, "got")) {
    assert.equal(error.name, "WsproxyError");
    assert.equal(error.reason, "reset");
    assert.equal(error.code, undefined);
  }
  assert.deepEqual(await page.run(({ state }) => state.errors), []);
});

test("handlers that throw, and writes of no bytes, end their connection only", async (t) => {
  const { page, connect } = await setUp(t, `[
    () => { throw new Error("at once"); },
    async ({readable}) => { await readable.getReader().read(); throw new Error("later"); },
    ({writable}) => writable.getWriter().write("text"),
    ({readable, writable}) => readable.pipeTo(writable),
  ]`);
  for (let i = 0; i < 3; i++) {
    const socket = await connect();
    socket.write("x");
    assert.equal((await readAll(socket)).length, 0);
  }
  const socket = await connect();
  socket.end("fine");
  assert.equal(String(await readAll(socket)), "fine");
  const errors = await page.run(({ state }) => state.errors);
  assert.deepEqual(errors.map((error) => error.message), ["at once", "later"]);
});

test("aborting a write that waits for credit ends the connection", async (t) => {
  const { page, connect } = await setUp(t, `[async ({readable, writable}, state) => {
    const writer = writable.getWriter();
    const writing = page.outcome(writer.write(new Uint8Array(${32 * MiB})));
    await page.until(() => state.goOn);
    await writer.abort(new RangeError("no more"));
    const reading = await page.outcome(readable.getReader().read());
    state.got = { writing: await writing, reading };
  }]`);
  const socket = (await connect()).pause();
  await once(socket, "readable"); // the page is writing
  await goOn(page);
  const got = await noted(page, "got");
  assert.ok(got.writing.error);
  assert.equal(got.reading.error.message, "no more");
  assert.ok((await readAll(socket)).length < 32 * MiB);
});

test("without onConnection connections are closed at once", async (t) => {
  const [server, page] = await Promise.all([startServer(t), openPage(t)]);
  const port = await page.run(async (page, url) => (await page.openTunnel({ url })).rawPort, server.ws);
  const socket = await connectOutside(t, port);
  assert.equal((await readAll(socket)).length, 0);
});

test("closing the tunnel ends its connections with an error", async (t) => {
  const { page, connect } = await setUp(t, `[async ({readable}, state) => {
    state.got = await page.outcome(readable.getReader().read());
  }]`);
  const socket = await connect();
  const ended = once(socket, "end");
  await page.run(({ state }) => state.tunnel.close());
  const { error } = await noted(page, "got");
  assert.equal(error.name, "WsproxyError");
  assert.equal(error.code, 1000);
  assert.match(error.message, /closed by this page/);
  socket.resume();
  await inTime("the end of the connection", ended);
});

test("a server that shuts down ends connections and the tunnel, and says why", async (t) => {
  const { server, page, connect } = await setUp(t, `[async ({readable}, state) => {
    state.got = await page.outcome(readable.getReader().read());
  }]`, { SHUTDOWN_TIMEOUT: "50ms" }, false);
  await connect();
  server.signal("SIGTERM");
  const { error } = await noted(page, "got");
  assert.equal(error.name, "WsproxyError");
  assert.ok(error.reason === "shutdown" || error.code === 1001, JSON.stringify(error));
  const closed = await page.run((page) => page.outcome(page.state.tunnel.closed));
  assert.equal(closed.error.code, 1001);
  assert.equal(closed.error.reason, "restart, retry within 1 s");
});
