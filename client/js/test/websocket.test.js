// The page's end of a WebSocket, with the package ws as the outside client, and
// with frames that no client may send.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocket } from "ws";
import { inBrowser } from "./support/place.js";
import { openToProxy, readAll, window } from "./support/proxy.js";
import { eventually, inTime } from "./support/wait.js";

const MiB = 1 << 20;

/** A WebSocket to the page. Its messages are in an array, in which next() waits for the next. */
function connect(t, proxy, protocols = [], options = {}) {
  let connection;
  const socket = new WebSocket("ws://t.example.com/path?query", protocols, {
    perMessageDeflate: false, createConnection: () => (connection = proxy.open()), ...options,
  });
  socket.connection = connection;
  t.after(() => socket.terminate());
  socket.on("error", () => {});
  const messages = [];
  let arrival = () => {};
  socket.on("message", (data, isBinary) => {
    messages.push(isBinary ? data : String(data));
    arrival();
  });
  socket.next = async () => {
    while (messages.length === 0) await inTime("a message", new Promise((resolve) => { arrival = resolve; }));
    return messages.shift();
  };
  socket.opened = inTime("the handshake", once(socket, "open"));
  socket.opened.catch(() => {});
  socket.closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
  return socket;
}

const echo = `{ onWebSocket: (socket, request, info) => {
  state.socket = socket;
  state.events = [];
  state.about = [socket.url, request.url, info.path, socket.protocols.join(), socket.readyState];
  socket.binaryType = "arraybuffer";
  socket.onopen = () => state.events.push("open " + socket.readyState);
  socket.onmessage = ({ data }) => socket.send(data);
  socket.addEventListener("error", () => state.events.push("error"));
  socket.onclose = ({ code, reason, wasClean }) => {
    state.events.push("close " + socket.readyState);
    state.closed = [code, reason, wasClean];
  };
} }`;

test("an echo of everything that can be sent", async (t) => {
  const { proxy, noted, errors } = await openToProxy(t, echo);
  const socket = connect(t, proxy, ["chat", "other"]);
  await socket.opened;
  assert.equal(socket.protocol, "chat", "of those offered the first");
  assert.deepEqual(await noted("about"), ["ws://t.example.com/path?query", "http://t.example.com/path?query", "/path?query", "chat,other", 0]);
  for (const message of ["", "h\u00e9 \u{1F600}", "x".repeat(125), "x".repeat(126), "x".repeat(65_535), "x".repeat(65_536), "x".repeat(MiB)]) {
    socket.send(message);
    assert.equal(await socket.next(), message);
    socket.send(Buffer.from(message));
    assert.deepEqual(await socket.next(), Buffer.from(message));
  }
  socket.send("frag", { fin: false });
  socket.ping("between");
  socket.send("mented", { fin: true });
  assert.equal(String((await inTime("a pong", once(socket, "pong")))[0]), "between");
  assert.equal(await socket.next(), "fragmented");
  socket.close(4000, "r\u00e9ason");
  assert.deepEqual(await inTime("the end", socket.closed), [4000, "r\u00e9ason"]);
  assert.deepEqual(await noted("closed"), [4000, "r\u00e9ason", true]);
  assert.deepEqual(await noted("events"), ["open 1", "close 3"]);
  assert.equal((await socket.connection.whenClosed()).reason, undefined);
  assert.deepEqual(await errors(), []);
});

test("what the page sends, and what it may not", async (t) => {
  const { proxy, page, noted } = await openToProxy(t, `{ onWebSocket: (socket) => {
    state.socket = socket;
    state.early = page.outcome((async () => socket.send("x"))());
    socket.onmessage = ({ data }) => { state.kind = data.constructor.name; };
    socket.onclose = ({ code, reason, wasClean }) => { state.closed = [code, reason, wasClean]; };
  } }`);
  const socket = connect(t, proxy);
  await socket.opened;
  assert.equal(socket.protocol, "");
  socket.send(Buffer.of(1));
  assert.equal(await noted("kind"), "Blob");
  const tried = await page.run(async ({ state, outcome }) => {
    const { socket } = state;
    socket.send("text");
    socket.send(new Uint8Array([1, 2, 3]).subarray(1));
    socket.send(new Blob(["bl", "ob"]));
    socket.send(new Uint8Array([4]).buffer);
    const bytes = new Uint8Array([5]);
    socket.send(bytes);
    bytes[0] = 6; // it is sent as it was
    socket.send("\ud800");
    const { bufferedAmount } = socket;
    const failures = [];
    for (const args of [[999], [1005], [2999], [5000], [1000, "x".repeat(124)]]) {
      failures.push((await outcome((async () => socket.close(...args))())).error.name);
    }
    return { bufferedAmount, failures, early: (await state.early).error.name };
  });
  assert.deepEqual(tried, {
    bufferedAmount: 4 + 2 + 4 + 1 + 1 + 3, early: "InvalidStateError",
    failures: [...Array(4).fill("InvalidAccessError"), "SyntaxError"],
  });
  const got = [];
  for (let i = 0; i < 6; i++) got.push(await socket.next());
  assert.deepEqual(got.map(String), ["text", "\x02\x03", "blob", "\x04", "\x05", "\ufffd"]);
  await page.run(({ state }) => {
    state.socket.send("last");
    state.socket.close(3001, "done");
    state.socket.send("never");
    state.socket.close();
  });
  assert.equal(await socket.next(), "last");
  assert.deepEqual(await inTime("the end", socket.closed), [3001, "done"]);
  assert.deepEqual(await noted("closed"), [3001, "done", true]);
  assert.equal(await page.run(({ state }) => state.socket.bufferedAmount), 5);
});

test("the page chooses the subprotocol, at once or later, or refuses", async (t) => {
  const { proxy, errors } = await openToProxy(t, `{
    onRequest: () => new Response("plain"),
    onWebSocket: async (socket, request) => {
      const choices = {
        none: () => socket.accept(""),
        second: () => socket.accept("b"),
        later: () => socket.accept(new Promise((resolve) => setTimeout(resolve, 20, "b"))),
        refused: () => socket.close(),
        late: () => socket.accept(Promise.reject(new Error("no login"))),
        wrong: () => socket.accept("c"),
        throws: () => { throw new Error("secret"); },
      };
      choices[request.headers.get("X-Case")]();
    },
  }`);
  for (const [name, want] of [["second", "b"], ["later", "b"], ["refused", 403], ["late", 500], ["wrong", 500]]) {
    const socket = connect(t, proxy, ["a", "b"], { headers: { "X-Case": name } });
    if (typeof want === "number") {
      await assert.rejects(socket.opened, new RegExp(`Unexpected server response: ${want}`), name);
    } else {
      await socket.opened;
      assert.equal(socket.protocol, want, name);
    }
  }
  const none = connect(t, proxy, [], { headers: { "X-Case": "none" } });
  await none.opened;
  const throwing = connect(t, proxy, [], { headers: { "X-Case": "throws" } });
  await inTime("the end", throwing.closed); // an async handler has thrown when the socket was accepted
  assert.equal((await errors()).length, 3);
  assert.equal(String((await proxy.ask()).body), "plain");
});

/** Sends a handshake and bytes as they are, and returns the answer's head and the frames behind it. */
async function exchange(proxy, bytes, fields = {}) {
  const all = {
    Host: "x", Upgrade: "websocket", Connection: "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", ...fields,
  };
  const connection = proxy.open();
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  connection.write(Buffer.concat([Buffer.from(`GET / HTTP/1.1\r\n${lines}\r\n`), Buffer.from(bytes)]));
  const answer = await readAll(connection);
  const end = answer.indexOf("\r\n\r\n") + 4;
  return { head: String(answer.subarray(0, end)), frames: answer.subarray(end) };
}

/** A masked frame of a client. */
function frame(first, payload = "", length = payload.length) {
  const data = Buffer.from(payload);
  const mask = randomBytes(4);
  return [first, 0x80 | length, ...mask, ...data.map((byte, i) => byte ^ mask[i & 3])];
}

test("handshakes, right and wrong", async (t) => {
  const { proxy } = await openToProxy(t, echo);
  const { head, frames } = await exchange(proxy, [...frame(0x81, "hi"), ...frame(0x88)]);
  assert.match(head, /^HTTP\/1.1 101 .*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/s, "RFC 6455, 1.3");
  assert.deepEqual([...frames], [0x81, 2, 104, 105, 0x88, 0]);
  const close = { Connection: "close, Upgrade" };
  assert.match((await exchange(proxy, [], { ...close, "Sec-WebSocket-Version": "8" })).head, /^HTTP\/1.1 426 .*version: 13/is);
  for (const key of ["", "short", "dGhlIHNhbXBsZSBub25jZQ"]) {
    assert.match((await exchange(proxy, [], { ...close, "Sec-WebSocket-Key": key })).head, /^HTTP\/1.1 400 /);
  }
});

test("frames that no client may send", async (t) => {
  const { proxy, page, noted } = await openToProxy(t, echo.replace("onWebSocket", "maxMessage: 1000, onWebSocket"));
  const unmasked = [0x81, 1, 97];
  for (const [bytes, code] of [
    [unmasked, 1002], [frame(0xc1, "x"), 1002], [frame(0x83, "x"), 1002], [frame(0x8b, ""), 1002], [frame(0x09, "x"), 1002],
    [frame(0x80, "x"), 1002], [[...frame(0x01, "x"), ...frame(0x81, "y")], 1002], [[0x89, 0xfe, 0, 126], 1002],
    [[0x81, 0xfe, 0, 125, 0, 0, 0, 0], 1002], [[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002],
    [[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002],
    [[0x81, 0xfe, 3, 233, 0, 0, 0, 0], 1009], [[...frame(0x01, "x".repeat(100)), 0x80, 0xfe, 3, 133, 0, 0, 0, 0], 1009],
    [frame(0x81, Buffer.of(0xff)), 1007], [frame(0x88, "x"), 1002], [frame(0x88, Buffer.of(3, 237)), 1002],
    [frame(0x88, Buffer.of(7, 0)), 1002], [frame(0x88, Buffer.of(3, 232, 0xff)), 1007],
  ]) {
    await page.run(({ state }) => { delete state.closed; });
    const { frames } = await exchange(proxy, bytes);
    assert.equal(frames[0], 0x88, JSON.stringify(bytes));
    assert.equal(frames.readUInt16BE(2), code, JSON.stringify(bytes));
    assert.deepEqual(await noted("closed"), [1006, "", false]);
  }
});

test("an end without a close frame", async (t) => {
  const { proxy, page, noted } = await openToProxy(t, echo);
  for (const end of [(connection) => connection.end(), (connection) => connection.destroy()]) {
    const socket = connect(t, proxy);
    await socket.opened;
    await page.run(({ state }) => { delete state.closed; });
    end(socket.connection);
    assert.deepEqual(await noted("closed"), [1006, "", false]);
  }
});

// A browser takes a minute for that where others use the processor, too.
const volume = inBrowser ? 20e6 : 100e6;

test("many megabytes in each direction, of which little waits", async (t) => {
  const { proxy, page, noted } = await openToProxy(t, `{ onWebSocket: (socket) => {
    socket.binaryType = "arraybuffer";
    state.length = 0;
    socket.onmessage = async ({ data }) => {
      state.length += data.byteLength;
      if (state.length < ${volume}) return;
      state.socket = socket;
      state.allCame = true;
      for (let i = 0; i < ${volume / 1e6}; i++) socket.send(new Uint8Array(1e6).fill(i));
      state.most = socket.bufferedAmount;
    };
  } }`);
  const socket = connect(t, proxy);
  await socket.opened;
  const message = Buffer.alloc(500_000, 7);
  for (let i = 0; i < volume / 500_000; i++) await new Promise((resolve) => socket.send(message, resolve));
  assert.equal(await noted("allCame"), true);
  assert.equal(await noted("most"), volume);
  for (let i = 0; i < volume / 1e6; i++) {
    const got = await socket.next();
    assert.equal(got.length, 1e6);
    assert.ok(got[0] === i && got.at(-1) === i);
  }
  await page.run(({ state, until }) => until(() => state.socket.bufferedAmount === 0));
});

test("a client that takes nothing holds the page's messages up", async (t) => {
  const { proxy, page, noted } = await openToProxy(t, `{ onWebSocket: (socket) => { socket.onopen = () => { state.socket = socket; state.open = true; }; } }`);
  const connection = proxy.open();
  connection.write("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  await noted("open");
  await page.run(({ state }) => { for (let i = 0; i < 30; i++) state.socket.send(new Uint8Array(100_000)); });
  await eventually("a full window has come", () => connection.bytesIn >= window);
  const waits = await page.run(({ state }) => state.socket.bufferedAmount);
  assert.ok(waits > 3_000_000 - window - 200_000, `${waits} bytes wait`);
});

test("a client that only sends is held up by an echo that it does not read", async (t) => {
  const { proxy, page } = await openToProxy(t, echo);
  const socket = connect(t, proxy);
  await socket.opened;
  socket.pause();
  const messages = Array.from({ length: 24 }, (_, i) => Buffer.alloc(MiB, i));
  for (const message of messages) socket.send(message);
  await page.run(({ state, until }) => until(() => state.socket.bufferedAmount > 16 * 2 ** 20));
  // The message that went above the bound was the last to be read.
  await eventually("the window is full", () => socket.connection.bytesOut > 17 * MiB);
  assert.ok(await page.run(({ state }) => state.socket.bufferedAmount) < 18 * MiB);
  assert.ok(socket.connection.bytesOut < 20 * MiB, `${socket.connection.bytesOut} bytes were taken`);
  socket.resume();
  for (const message of messages) assert.ok(message.equals(await socket.next()));
});
