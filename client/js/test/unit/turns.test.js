import assert from "node:assert/strict";
import { test } from "node:test";
import { openTunnel } from "../../wsproxy.js";

const window = 262_144;
/** Bytes that an uplink of 10 Mbit/s takes in a millisecond. */
const rate = 1250;

/**
 * A WebSocket on an uplink of 10 Mbit/s. Its time is the bytes that it has
 * taken: they go out only as the test lets time pass.
 */
class SlowSocket {
  static last;
  readyState = 0;
  bufferedAmount = 0;
  /** Messages in the order in which they went out: {at, isControl, id, bytes}, `at` in milliseconds. */
  out = [];
  most = 0; // bytes that waited at once
  #taken = 0;
  #queued = 0;
  #waiting = [];

  constructor() {
    SlowSocket.last = this;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen();
      this.tell({ type: "tunnel_ready", tunnelUrl: "http://t.example.com", rawPort: 1, window, http: "bytes" });
    });
  }

  get now() {
    return this.#taken / rate;
  }

  send(data) {
    const length = data.length;
    this.bufferedAmount += length;
    this.most = Math.max(this.most, this.bufferedAmount);
    this.#queued += length;
    const isControl = typeof data === "string";
    this.#waiting.push({ end: this.#queued, isControl, id: isControl ? JSON.parse(data).connId : String.fromCharCode(...data.subarray(4, 6)), bytes: length });
  }

  close() {
    this.readyState = 3;
    this.onclose({ code: 1000, reason: "" });
  }

  tell(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  data(id, text) {
    this.onmessage({ data: Uint8Array.of(0, 0, 0, id.length, ...Buffer.from(id + text)).buffer });
  }

  /** Lets time pass. What has gone out gives credit, as from a client that reads. */
  async pass(milliseconds) {
    for (let i = 0; i < milliseconds; i++) {
      const taken = Math.min(rate, this.bufferedAmount);
      this.#taken += taken;
      this.bufferedAmount -= taken;
      while (this.#waiting.length > 0 && this.#waiting[0].end <= this.#taken) {
        const { end, ...message } = this.#waiting.shift();
        this.out.push({ at: end / rate, ...message });
        if (!message.isControl) this.tell({ type: "tcp_credit", connId: message.id, bytes: message.bytes - 4 - message.id.length });
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  /** Milliseconds until a message of that connection has gone out. */
  async wait(id, isControl = false) {
    const start = this.now;
    for (;;) {
      await this.pass(1);
      const found = this.out.find((message) => message.id === id && message.at > start && message.isControl === isControl);
      if (found) return found.at - start;
    }
  }
}

const id = (i) => i.toString(16).padStart(2, "0");

async function open(t) {
  const before = globalThis.WebSocket;
  globalThis.WebSocket = SlowSocket;
  t.after(() => { globalThis.WebSocket = before; });
  const pings = [];
  const tunnel = await openTunnel({
    url: "ws://proxy.example.com",
    onConnection: ({ readable, writable }) => {
      const writer = writable.getWriter();
      pings.push((bytes) => writer.write(new Uint8Array(bytes)));
      readable.pipeTo(new WritableStream()).catch(() => {});
      writer.closed.catch(() => {});
    },
    onRequest: (request) => new URL(request.url).pathname === "/small"
      ? new Response("small")
      : new Response(new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(100_000)) })),
  });
  t.after(() => tunnel.close());
  const socket = SlowSocket.last;
  t.mock.method(Date, "now", () => Math.floor(socket.now));
  return { socket, pings };
}

function ask(socket, id, path) {
  socket.tell({ type: "tcp_open", connId: id, remoteAddr: "192.0.2.1:1", protocol: "http/1.1" });
  socket.data(id, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
}

test("beside 100 answers that stream over 10 Mbit/s a ping and a small answer wait no more than 100 ms", async (t) => {
  const { socket, pings } = await open(t);
  socket.tell({ type: "tcp_open", connId: "pp", remoteAddr: "192.0.2.1:1" });
  for (let i = 0; i < 100; i++) ask(socket, id(i), "/large");
  for (let round = 0; round < 8; round++) {
    await socket.pass(50);
    pings[0](100).catch(() => {});
    const ping = await socket.wait("pp");
    assert.ok(ping < 100, `ping ${round} took ${ping} ms`);
    ask(socket, `s${round.toString(36)}`, "/small");
    const small = await socket.wait(`s${round.toString(36)}`);
    assert.ok(small < 100, `small answer ${round} took ${small} ms`);
    socket.tell({ type: "tcp_open", connId: `r${round.toString(36)}`, remoteAddr: "192.0.2.1:1", protocol: "none" });
    const control = await socket.wait(`r${round.toString(36)}`, true);
    assert.ok(control < 100, `control message ${round} took ${control} ms`);
  }
  assert.ok(socket.most < 70_000, `${socket.most} bytes waited in the WebSocket`);
  const share = Array.from({ length: 100 }, (_, i) =>
    socket.out.reduce((sum, message) => sum + (message.id === id(i) && !message.isControl ? message.bytes : 0), 0));
  assert.ok(Math.max(...share) - Math.min(...share) < 20_000, `each has its share: ${Math.min(...share)} to ${Math.max(...share)} bytes`);
});

test("who writes much in small pieces has no more than its share", async (t) => {
  const { socket, pings } = await open(t);
  for (const name of ["aa", "bb", "cc"]) socket.tell({ type: "tcp_open", connId: name, remoteAddr: "192.0.2.1:1" });
  const stops = [false];
  const write = async (ping, bytes) => { while (!stops[0]) await ping(bytes).catch(() => { stops[0] = true; }); };
  write(pings[0], 100_000);
  write(pings[1], 500);
  write(pings[2], 5000);
  await socket.pass(1000);
  stops[0] = true;
  const [a, b, c] = ["aa", "bb", "cc"].map((name) => socket.out.reduce((sum, m) => sum + (m.id === name ? m.bytes : 0), 0));
  assert.ok(a + b + c > 1_000_000, `${a + b + c} bytes went out`);
  // A writer that waits for each piece may have less.
  assert.ok(Math.min(b, c) > 0 && Math.max(b, c) < a + 50_000, `${a}, ${b}, ${c}`);
});
