// Plays a server whose sessions outlive their WebSocket, from the contract and
// with nothing of the module's own code. It keeps all that it has ever sent,
// and cuts bytes into messages by chance, anew each time.
import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { WebSocketServer } from "ws";

const maxPayload = 64 << 10;
const lost = new Set([1001, 1005, 1006, 1012, 4000]);

/** @returns {Promise<Resumer>} ends with the test */
export async function startResumer(t, options = {}) {
  const resumer = new Resumer(options);
  t.after(() => resumer.stop());
  await once(resumer.listener, "listening");
  return resumer;
}

class Resumer {
  sessions = [];
  /** Of each handshake, {query, protocols}. */
  requests = [];
  /** Called with each new session. */
  onSession = () => {};
  /** Called with each handshake, before it is answered; true: this is done by who was called. */
  onRequest = () => false;

  #options;

  /** @param {{timeout?: number, limit?: number, chance?: object}} options seconds; what the client may send beyond what was passed on */
  constructor(options) {
    this.#options = { timeout: 900, ...options };
    this.listener = new WebSocketServer({
      host: "127.0.0.1", port: 0,
      handleProtocols: (offered) => (offered.has("wsproxy.resume") ? "wsproxy.resume" : "wsproxy.v1"),
    });
    this.listener.on("connection", (socket, request) => this.#connected(socket, request));
  }

  get port() {
    return this.listener.address().port;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}`;
  }

  get last() {
    return this.sessions.at(-1);
  }

  stop() {
    for (const session of this.sessions) session.stop();
    for (const client of this.listener.clients) client.terminate();
    this.listener.close();
  }

  #connected(socket, request) {
    const { pathname, searchParams: query } = new URL(request.url, "ws://x");
    const protocols = request.headers["sec-websocket-protocol"].split(",").map((word) => word.trim());
    this.requests.push({ query: Object.fromEntries(query), protocols });
    if (this.onRequest(socket, query, protocols)) return;
    if (!protocols.includes("wsproxy.resume")) return; // a plain one, of which nothing is played
    const token = protocols.find((word) => word.startsWith("resume."))?.slice("resume.".length);
    if (token === undefined) {
      const session = new Session(pathname === "/relay" ? "bytes" : "messages", this.#options);
      this.sessions.push(session);
      this.onSession(session);
      session.begin(socket);
      return;
    }
    const session = this.sessions.find((session) => session.token === token);
    if (!session || session.end) socket.close(4404, "no such session");
    else session.takeUp(socket, query);
  }
}

/** Emits "message" (data, isBinary), "eof" and "end" ({code}). What is sent by send() outlives the WebSocket. */
class Session extends EventEmitter {
  token = `${randomBytes(6).toString("hex")}.${randomBytes(32).toString("base64url")}`;
  /** How it ended, {code}, once it has. */
  end;
  /** Whether what comes is not passed on. */
  holds = false;
  /** Told by the client: up to where this side may send. */
  mayBeSent;
  /** What came, and how much of it was passed on. */
  received = 0;
  passed = 0;
  acknowledged = 0;
  most = 0; // bytes or messages that were under way at once

  #unit;
  #options;
  #socket;
  #attempt = 0;
  #stream = []; // all that was sent: buffers, or {data, isBinary}
  #start = 0; // of the first of #stream
  #length = 0;
  #next = 0;
  #granted;
  #window;
  #told = 0;
  #ended = false;
  #peerEnded = false;
  #timer = setInterval(() => this.#ack(), 200);

  constructor(unit, options) {
    super();
    this.#unit = unit;
    this.#options = options;
    this.mayBeSent = this.#granted = unit === "bytes" ? 64 << 10 : 64;
    this.#window = options.limit ?? this.#granted;
  }

  get isAttached() {
    return this.#socket !== undefined;
  }

  begin(socket) {
    const { timeout } = this.#options;
    this.#say(socket, { type: "session", resume: this.token, timeout, limit: this.#grant() });
    this.#attach(socket);
  }

  takeUp(socket, query) {
    const attempt = Number(query.get("attempt") ?? NaN);
    if (!(attempt > this.#attempt)) return socket.close(4001, "late");
    const position = Number(query.get(this.#unit) ?? NaN);
    if (!Number.isSafeInteger(position) || position < this.acknowledged || position > this.#length) return socket.close(4409, "not kept");
    this.#attempt = attempt;
    this.#lose()?.close(4001, "taken over");
    this.#say(socket, { type: "resumed", [this.#unit]: this.received, limit: this.#grant() });
    this.#next = position;
    this.#attach(socket);
    this.#ack(true);
    if (this.#ended && this.#next === this.#length) this.#say(socket, { type: "eof" });
  }

  stop() {
    clearInterval(this.#timer);
    this.#lose()?.terminate();
  }

  /** Ends the WebSocket of now, by close() or without. */
  drop(code) {
    const socket = this.#lose();
    if (code) socket?.close(code);
    else socket?.terminate();
  }

  /** A message as it is, of no position. */
  sayRaw(data) {
    this.#socket?.send(data);
  }

  send(data) {
    if (this.#unit === "bytes" && data.length === 0) return;
    this.#stream.push(data);
    this.#length += this.#unit === "bytes" ? data.length : 1;
    this.#pump();
  }

  sendEnd() {
    this.#ended = true;
    this.#pump();
  }

  close(code) {
    this.#socket?.close(code);
  }

  /** Passes on what was held. */
  release() {
    this.holds = false;
    this.passed = this.received;
    this.#ack(true);
  }

  #grant() {
    this.#granted = Math.max(this.#granted, this.passed + this.#window);
    return this.#granted;
  }

  #say(socket, message) {
    socket?.send(JSON.stringify(message));
  }

  #ack(isDue = false) {
    if (!isDue && this.#told === this.passed) return;
    if (this.#socket === undefined) return;
    this.#told = this.passed;
    this.#say(this.#socket, { type: "ack", [this.#unit]: this.passed, limit: this.#grant() });
  }

  #attach(socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => { if (socket === this.#socket) this.#came(data, isBinary); });
    socket.on("close", (code) => { if (socket === this.#socket) this.#closed(code); });
    this.#pump();
  }

  #lose() {
    const socket = this.#socket;
    this.#socket = undefined;
    return socket;
  }

  #closed(code) {
    this.#lose();
    if (lost.has(code)) return;
    this.end = { code };
    clearInterval(this.#timer);
    this.emit("end", this.end);
  }

  #fail(sentence) {
    this.failure = sentence;
    this.emit("failure", sentence);
    this.#socket?.close(1002, sentence);
  }

  #came(data, isBinary) {
    if (!isBinary) {
      const message = JSON.parse(data);
      switch (message.type) {
        case "ack": return this.#acked(message);
        case "ping": return this.#say(this.#socket, { type: "pong" });
        case "pong": return this.emit("pong");
        case "eof": return this.#eof();
      }
      if (this.#unit === "bytes") return this.#fail(`a ${message.type}`);
      return this.#deliver(data, false);
    }
    if (data.length < 8) return this.#fail("no trailer");
    const payload = data.subarray(0, -8);
    if (payload.length > maxPayload) return this.#fail("too long");
    const position = this.received + (this.#unit === "bytes" ? payload.length : 1);
    if (data.readBigUInt64BE(data.length - 8) !== BigInt(position)) return this.#fail("a wrong trailer");
    this.#deliver(payload, true);
  }

  #deliver(data, isBinary) {
    if (this.#peerEnded) return this.#fail("bytes behind an eof");
    const count = this.#unit === "bytes" ? data.length : 1;
    this.received += count;
    this.most = Math.max(this.most, this.received - this.#told);
    if (this.received > this.#granted) return this.#fail("more than was granted");
    if (!this.holds) this.passed = this.received;
    this.emit("message", data, isBinary);
    if (this.passed - this.#told >= (this.#unit === "bytes" ? 16 << 10 : 16)) this.#ack();
  }

  #eof() {
    if (!this.#peerEnded) {
      this.#peerEnded = true;
      this.emit("eof");
    }
    this.#endOfBoth();
  }

  #acked(message) {
    const position = message[this.#unit];
    if (!(position <= this.#length)) return this.#fail("an ack of the future");
    this.acknowledged = Math.max(this.acknowledged, position);
    this.mayBeSent = Math.max(this.mayBeSent, message.limit);
    while (this.#stream.length > 0) {
      const length = this.#unit === "bytes" ? this.#stream[0].length : 1;
      if (this.#start + length > this.acknowledged) break;
      this.#start += length;
      this.#stream.shift();
    }
    this.#pump();
  }

  #pump() {
    const limit = Math.min(this.#length, this.mayBeSent);
    while (this.#socket && this.#next < limit) {
      const [piece, isBinary] = this.#unit === "bytes" ? [this.#bytes(limit), true] : this.#message();
      this.#next += this.#unit === "bytes" ? piece.length : 1;
      const trailer = Buffer.alloc(8);
      trailer.writeBigUInt64BE(BigInt(this.#next));
      this.#socket.send(isBinary ? Buffer.concat([piece, trailer]) : piece, { binary: isBinary });
    }
    if (this.#socket && this.#ended && this.#next === this.#length) {
      this.#say(this.#socket, { type: "eof" });
      this.#endOfBoth();
    }
  }

  /** Some of the next bytes, by chance. */
  #bytes(limit) {
    let at = this.#start, index = 0;
    while (at + this.#stream[index].length <= this.#next) at += this.#stream[index++].length;
    const rest = this.#stream[index].subarray(this.#next - at);
    const most = Math.min(rest.length, maxPayload, limit - this.#next);
    return rest.subarray(0, Math.max(1, Math.floor(most * (this.#options.chance?.() ?? 1))));
  }

  #message() {
    const data = this.#stream[this.#next - this.#start];
    return [data, typeof data !== "string"];
  }

  #endOfBoth() {
    if (this.#peerEnded && this.#ended && this.#next === this.#length) this.#socket?.close(1000);
  }
}
