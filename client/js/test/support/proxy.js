// Plays the server of a tunnel with http=bytes. Its HTTP connections are streams,
// to be given to any client: Node's http, the package ws, or a test's own bytes.
import { once } from "node:events";
import http from "node:http";
import { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { openPage } from "./place.js";
import { inTime } from "./wait.js";

export const window = 262_144;
const pieceSize = 32 << 10;

/** It ends with the test. */
async function startProxy(t) {
  const listener = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  t.after(() => {
    for (const client of listener.clients) client.terminate();
    listener.close();
  });
  await once(listener, "listening");
  const proxy = new Proxy(`ws://127.0.0.1:${listener.address().port}/`);
  listener.on("connection", (socket, request) => proxy.registered(socket, new URL(request.url, "ws://x").searchParams));
  return proxy;
}

/**
 * A page whose tunnel leads to the proxy that is played.
 *
 * @param {string} callbacks code of the page: an object of openTunnel's options
 * @param {(t: object) => Promise<Proxy>} [start] makes another one, such as one whose WebSocket breaks
 */
export async function openToProxy(t, callbacks, start = startProxy) {
  const [proxy, page] = await Promise.all([start(t), openPage(t)]);
  await page.run(async (page, { url, callbacks }) => {
    const { state } = page;
    state.errors = [];
    state.tunnel = await page.openTunnel({
      url,
      onError: (error) => state.errors.push(page.told(error)),
      ...new Function("page", "state", `return ${callbacks}`)(page, state),
    });
  }, { url: proxy.url, callbacks });
  const errors = () => page.run(({ state }) => state.errors);
  /** What the page has noted under a name, as soon as it is there. */
  const noted = (name) => page.run(async ({ state, until }, name) => {
    await until(() => state[name] !== undefined);
    return state[name];
  }, name);
  return { proxy, page, errors, noted };
}

export class Proxy {
  url;
  query;
  #socket;
  #connections = new Map();
  #count = 0;

  constructor(url) {
    this.url = url;
  }

  registered(socket, query) {
    this.query = query;
    this.#socket = socket;
    socket.on("message", (data, isBinary) => this.#received(data, isBinary));
    this.send({ type: "tunnel_ready", tunnelUrl: "http://t.example.com", rawPort: 1, window, http: "bytes" });
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  sendData(connId, payload) {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(connId.length);
    this.#socket.send(Buffer.concat([header, Buffer.from(connId), payload]));
  }

  /** @returns {Connection} a new one, HTTP unless `protocol` says otherwise; "tcp" is not told, as the server does it */
  open(protocol = "http/1.1") {
    const connId = (++this.#count).toString(16).padStart(12, "0");
    const connection = new Connection(this, connId);
    this.#connections.set(connId, connection);
    this.send({ type: "tcp_open", connId, remoteAddr: "192.0.2.1:1", protocol: protocol === "tcp" ? undefined : protocol });
    return connection;
  }

  /** An answer to a request over a connection of its own, or over the agent's. Its body is a stream. */
  async request({ agent, body, path = "/", headers = {}, ...options } = {}) {
    const request = http.request({
      host: "t.example.com", path, headers, ...options, agent, createConnection: agent ? undefined : () => this.open(),
    });
    request.on("error", () => {}); // the response says it, once there is one
    if (body !== undefined) request.end(body);
    else if (!["POST", "PUT"].includes(options.method)) request.end();
    const [response] = await inTime(`the answer to ${path}`, once(request, "response"));
    return Object.assign(response, { request });
  }

  /** The same, whole. */
  async ask(options) {
    const response = await this.request(options);
    return { status: response.statusCode, headers: response.headers, trailers: response.trailers, body: await readAll(response) };
  }

  #received(data, isBinary) {
    if (!isBinary) {
      const message = JSON.parse(data);
      this.#connections.get(message.connId)?.told(message);
      return;
    }
    const end = 4 + data.readUInt32BE();
    this.#connections.get(String(data.subarray(4, end)))?.received(data.subarray(end));
  }
}

/** One connection as its HTTP client sees it. What is not read gives no credit. */
class Connection extends Duplex {
  /** The page's tcp_close, once it has come. */
  closed;
  /** Bytes that the page has sent, and that were sent to it. */
  received = (payload) => this.#receive(payload);
  bytesIn = 0;
  bytesOut = 0;

  #proxy;
  #id;
  #maySend = window;
  #mayArrive = window;
  #owed = 0; // credit that waits for the reader
  #goOn; // of a write that waits for credit

  constructor(proxy, id) {
    super({ allowHalfOpen: true });
    this.#proxy = proxy;
    this.#id = id;
    this.on("error", () => {});
  }

  // What http and ws expect of a socket.
  setKeepAlive() {}
  setNoDelay() {}
  setTimeout() {}
  ref() {}
  unref() {}

  #receive(payload) {
    this.bytesIn += payload.length;
    this.#mayArrive -= payload.length;
    if (this.#mayArrive < 0) return this.destroy(new Error("the page sent more than it had credit for"));
    this.#owed += payload.length;
    if (this.push(payload)) this.#give();
  }

  told(message) {
    if (message.type === "tcp_credit") {
      this.#maySend += message.bytes;
      this.#goOn?.();
    }
    if (message.type !== "tcp_close") return;
    this.closed = message;
    this.emit("page closed");
    if (message.reason === undefined || message.reason === "eof") this.push(null);
    else this.destroy(new Error(`the page closed: ${message.reason}`));
    this.#goOn?.();
  }

  async whenClosed() {
    if (!this.closed) await inTime("the page's tcp_close", once(this, "page closed"));
    return this.closed;
  }

  #give() {
    if (this.#owed === 0) return;
    this.#mayArrive += this.#owed;
    this.#proxy.send({ type: "tcp_credit", connId: this.#id, bytes: this.#owed });
    this.#owed = 0;
  }

  _read() {
    this.#give();
  }

  async _write(chunk, encoding, done) {
    for (let rest = chunk; rest.length > 0 && !this.closed && !this.destroyed;) {
      const piece = rest.subarray(0, Math.min(pieceSize, this.#maySend));
      if (piece.length === 0) {
        await new Promise((resolve) => { this.#goOn = resolve; });
        continue;
      }
      this.#maySend -= piece.length;
      this.bytesOut += piece.length;
      this.#proxy.sendData(this.#id, piece);
      rest = rest.subarray(piece.length);
    }
    done();
  }

  _final(done) {
    if (!this.closed) this.#proxy.send({ type: "tcp_close", connId: this.#id, reason: "eof" });
    done();
  }

  _destroy(error, done) {
    if (!this.closed) this.#proxy.send({ type: "tcp_close", connId: this.#id, reason: "reset" });
    this.#goOn?.();
    done(error);
  }
}

/** Everything until the end; rejects if it was cut. */
export function readAll(stream) {
  return inTime("the end of a stream", (async () => {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  })());
}
