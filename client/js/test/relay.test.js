import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { closedPort, readAll, readBytes, startHandTarget, startTarget } from "./support/peers.js";
import { openPage } from "./support/place.js";
import { startServer } from "./support/server.js";
import { eventually, inTime } from "./support/wait.js";

const MiB = 1 << 20;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

test("16 MiB come back as they were sent", async (t) => {
  const [server, page, target] = await Promise.all([
    startServer(t), openPage(t), startTarget(t, (socket) => socket.pipe(socket)),
  ]);
  const got = await page.run(async (page, { url, host, port, length }) => {
    const relay = await page.connectRelay({ url, host, port });
    const sent = page.randomBytes(length);
    const writer = relay.writable.getWriter();
    const chunks = [];
    const reading = (async () => {
      let rest = length;
      const reader = relay.readable.getReader();
      while (rest > 0) {
        const { value } = await reader.read();
        chunks.push(value);
        rest -= value.length;
      }
      reader.releaseLock();
    })();
    // In one chunk and in many.
    await writer.write(sent.subarray(0, length / 2));
    for (let i = length / 2; i < length; i += 10_000) await writer.write(sent.subarray(i, Math.min(i + 10_000, length)));
    await reading;
    await writer.close();
    const received = new Uint8Array(await new Blob(chunks).arrayBuffer());
    return { sent: await page.sha256(sent), received: await page.sha256(received), closed: await relay.closed };
  }, { url: server.ws, ...target, length: 16 * MiB });
  assert.equal(got.received, got.sent);
  assert.deepEqual(got.closed, { code: 1000, reason: "" });
});

test("a target that does not read holds the writer up", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  await page.run(async (page, { url, host, port, length }) => {
    const watch = page.watchSockets();
    const relay = await page.connectRelay({ url, resume: false, host, port });
    watch.restore();
    const { state } = page;
    Object.assign(state, { relay, accepted: 0, most: 0, sent: page.randomBytes(length) });
    const writer = relay.writable.getWriter();
    state.writing = (async () => {
      for (let i = 0; i < length; i += 100_000) {
        const chunk = state.sent.subarray(i, i + 100_000);
        await writer.write(chunk);
        state.accepted += chunk.length;
        state.most = Math.max(state.most, watch.sockets[0].bufferedAmount);
      }
      await writer.close();
    })();
    // Until a write is held up.
    await page.until(() => watch.sockets[0].bufferedAmount > 2 ** 20);
  }, { url: server.ws, ...target, length: 32 * MiB });
  const socket = await target.next();
  const acceptedBefore = await page.run(({ state }) => state.accepted);
  assert.ok(acceptedBefore < 32 * MiB, `${acceptedBefore} bytes were taken while the target did not read`);
  const hash = createHash("sha256");
  for await (const chunk of socket) hash.update(chunk);
  socket.end();
  const got = await page.run(async (page) => {
    await page.state.writing;
    return { sent: await page.sha256(page.state.sent), most: page.state.most };
  });
  assert.equal(hash.digest("hex"), got.sent);
  assert.ok(got.most <= MiB + 256 * 1024, `${got.most} bytes waited in the browser`);
});

test("a target that speaks first and ends", async (t) => {
  const [server, page, target] = await Promise.all([
    startServer(t), openPage(t), startTarget(t, (socket) => socket.end("220 hello\r\n")),
  ]);
  const got = await page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port });
    const text = await page.readText(relay.readable);
    const closed = await relay.closed;
    const writing = await page.outcome(relay.writable.getWriter().write(page.encode("late")));
    return { text, closed, writing };
  }, { url: `${server.http}/relay`, ...target });
  assert.equal(got.text, "220 hello\r\n");
  assert.deepEqual(got.closed, { code: 1000, reason: "" });
  assert.equal(got.writing.error.name, "WsproxyError");
});

test("a page that does not read loses the relay, and not its memory", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  await page.run(async (page, { url, host, port }) => {
    page.state.relay = await page.connectRelay({ url, resume: false, host, port, maxUnread: 1_000_000 });
  }, { url: server.ws, ...target });
  const socket = await target.next();
  // By an end, or by a reset if the server had not read all of it.
  const gone = new Promise((resolve) => socket.on("end", resolve).on("close", resolve));
  socket.write(Buffer.alloc(1_000_000));
  socket.write(Buffer.alloc(4 * MiB));
  const got = await page.run(async (page) => {
    const { relay } = page.state;
    return {
      closed: await page.outcome(relay.closed),
      reading: await page.outcome(relay.readable.getReader().read()),
    };
  });
  for (const { error } of [got.closed, got.reading]) {
    assert.equal(error?.name, "WsproxyError");
    assert.match(error.message, /more than maxUnread, 1000000 bytes/);
  }
  socket.resume();
  await inTime("the end of the target's connection", gone);
});

test("maxUnread counts what waits and not what was read", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  await page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port, maxUnread: 100_000 });
    page.state.reader = relay.readable.getReader();
  }, { url: server.ws, ...target });
  const socket = await target.next();
  for (let round = 0; round < 5; round++) {
    socket.write(Buffer.alloc(90_000));
    await page.run(async ({ state }) => {
      for (let rest = 90_000; rest > 0;) rest -= (await state.reader.read()).value.length;
    });
  }
  socket.end();
  assert.equal((await page.run(({ state }) => state.reader.read())).done, true);
});

test("closing writable delivers everything, and then the end", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  const running = page.run(async (page, { url, host, port, length }) => {
    const relay = await page.connectRelay({ url, host, port });
    const sent = page.randomBytes(length);
    await page.writeAll(relay.writable, sent, 300_000);
    const rest = await page.readAll(relay.readable);
    return { sent: await page.sha256(sent), rest: rest.length, closed: await relay.closed };
  }, { url: server.ws, ...target, length: 5 * MiB });
  const socket = await target.next();
  const received = await readAll(socket);
  socket.end();
  const got = await running;
  assert.equal(digest(received), got.sent);
  assert.equal(got.rest, 0);
  assert.deepEqual(got.closed, { code: 1000, reason: "" });
});

test("a target that resets is an error of both streams", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  const running = page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port });
    const reader = relay.readable.getReader();
    const writer = relay.writable.getWriter();
    await writer.write(page.encode("reset!"));
    const reading = await page.outcome(reader.read());
    const writing = await page.outcome(writer.write(page.encode("late")));
    return { reading, writing, closed: await page.outcome(relay.closed) };
  }, { url: server.ws, ...target });
  const socket = await target.next();
  await readBytes(socket, 6);
  socket.resetAndDestroy();
  const got = await running;
  for (const { error } of [got.reading, got.writing, got.closed]) {
    assert.equal(error.name, "WsproxyError");
    assert.equal(error.code, 1011);
    assert.equal(error.reason, "target reset the connection");
  }
});

test("a target that cannot be reached, with nobody looking at closed", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), closedPort()]);
  const got = await page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port });
    return page.outcome(relay.readable.getReader().read());
  }, { url: server.ws, ...target });
  assert.equal(got.error.code, 1011);
  assert.equal(got.error.reason, "cannot reach target");
  assert.match(got.error.message, /does something listen on the port/);
});

test("a server that shuts down says so", async (t) => {
  const [server, page, target] = await Promise.all([
    startServer(t, { SHUTDOWN_TIMEOUT: "50ms" }), openPage(t), startHandTarget(t),
  ]);
  await page.run(async (page, { url, host, port }) => {
    page.state.relay = await page.connectRelay({ url, resume: false, host, port });
  }, { url: server.ws, ...target });
  await target.next();
  server.signal("SIGTERM");
  const got = await page.run((page) => page.outcome(page.state.relay.closed));
  assert.equal(got.error.code, 1001);
  assert.equal(got.error.reason, "restart, retry within 1 s");
});

test("a server that is killed is a lost connection", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  await page.run(async (page, { url, host, port }) => {
    page.state.relay = await page.connectRelay({ url, resume: false, host, port });
  }, { url: server.ws, ...target });
  await target.next();
  await server.kill();
  const got = await page.run((page) => page.outcome(page.state.relay.closed));
  assert.equal(got.error.code, 1006);
});

test("cancelling readable ends the relay in order", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  const running = page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port });
    const writer = relay.writable.getWriter();
    await writer.write(page.encode("QUIT\r\n"));
    await relay.readable.cancel();
    return { closed: await page.outcome(relay.closed), writing: await page.outcome(writer.write(page.encode("late"))) };
  }, { url: server.ws, ...target });
  assert.equal(String(await readAll(await target.next())), "QUIT\r\n");
  const got = await running;
  assert.deepEqual(got.closed.value, { code: 1000, reason: "" });
  assert.equal(got.writing.error.name, "WsproxyError");
});

test("aborting writable ends a write that is held up, and the relay", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  const running = page.run(async (page, { url, host, port }) => {
    const watch = page.watchSockets();
    const relay = await page.connectRelay({ url, resume: false, host, port });
    watch.restore();
    const writer = relay.writable.getWriter();
    const writing = page.outcome(writer.write(new Uint8Array(64 << 20)));
    await page.until(() => watch.sockets[0].bufferedAmount > 2 ** 20);
    await writer.abort(new RangeError("no more"));
    return {
      writing: await writing,
      reading: await page.outcome(relay.readable.getReader().read()),
      closed: await page.outcome(relay.closed),
    };
  }, { url: server.ws, ...target });
  const socket = await target.next();
  const got = await running;
  for (const { error } of [got.reading, got.closed]) assert.equal(error.message, "no more");
  assert.ok(got.writing.error);
  socket.resume();
  await once(socket, "end");
});

test("a signal ends it before, while and after it opens", async (t) => {
  const [server, page, target] = await Promise.all([
    startServer(t), openPage(t), startTarget(t, (socket) => socket.resume().on("end", () => socket.end())),
  ]);
  const running = page.run(async (page, { url, host, port }) => {
    const before = await page.outcome(page.connectRelay({ url, host, port, signal: AbortSignal.abort(new Error("before")) }));
    const asking = new AbortController();
    const opening = page.outcome(page.connectRelay({ url, host, port, signal: asking.signal, token: () => new Promise(() => {}) }));
    asking.abort(new Error("while asking for the token"));
    const controller = new AbortController();
    const relay = await page.connectRelay({ url, host, port, signal: controller.signal });
    const writer = relay.writable.getWriter();
    await writer.write(page.encode("a"));
    controller.abort(new Error("after"));
    const after = [
      await page.outcome(relay.closed),
      await page.outcome(relay.readable.getReader().read()),
      await page.outcome(writer.write(page.encode("late"))),
    ];
    // Last, since a browser delays what is opened after a failure.
    const connecting = new AbortController();
    const watch = page.watchSockets(() => connecting.abort(new Error("while connecting")));
    const connected = await page.outcome(page.connectRelay({ url, host, port, signal: connecting.signal }));
    watch.restore();
    return [before, await opening, connected, ...after];
  }, { url: server.ws, ...target });
  const messages = (await running).map(({ error }) => error.message);
  assert.deepEqual(messages, ["before", "while asking for the token", "while connecting", "after", "after", "after"]);
  await eventually("no relay is left", () => {
    const started = server.lines('"relay started"').length;
    return started > 0 && started === server.lines('"relay ended"').length;
  });
});

test("every BufferSource can be written, and nothing else", async (t) => {
  const [server, page, target] = await Promise.all([startServer(t), openPage(t), startHandTarget(t)]);
  const running = page.run(async (page, { url, host, port }) => {
    const relay = await page.connectRelay({ url, host, port });
    const writer = relay.writable.getWriter();
    const bytes = page.encode("-abcdefgh");
    await writer.write(bytes.slice(1, 3).buffer);
    await writer.write(new DataView(bytes.buffer, 3, 2));
    await writer.write(new Uint16Array(bytes.slice(5).buffer));
    await writer.write(new Uint8Array());
    const text = await page.outcome(writer.write("text"));
    return { text, closed: await page.outcome(relay.closed) };
  }, { url: server.ws, ...target });
  const socket = await target.next();
  assert.equal(String(await readBytes(socket, 8)), "abcdefgh");
  const got = await running;
  assert.equal(got.text.error.name, "TypeError");
  assert.equal(got.closed.error.name, "TypeError");
});
