import { bytesOf, encodeText } from "./bytes.js";
import { encodeClose, encodeFrame, FrameError, FrameReader, isCloseCode, maxControl } from "./frames.js";

/** Bytes of a message in one frame, which with its header is two full messages of the tunnel. A pong goes out between two. */
const frameSize = (64 << 10) - 16;
/** While more bytes wait to be sent nothing is read: an echo must not keep what a client that only sends has sent. */
const mostUnsent = 16 << 20;
/** Milliseconds that a client has for its close frame, after it got this side's. */
const closeTimeout = 10_000;

const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

/** Node has it from version 23 on. */
const CloseEvent = globalThis.CloseEvent ?? class extends Event {
  constructor(type, { code, reason, wasClean }) {
    super(type);
    Object.assign(this, { code, reason, wasClean });
  }
};

/**
 * The server's end of a WebSocket, with the API of the browser's own class.
 * Documented in wsproxy.d.ts; its static methods are for the connection.
 */
export class ServerSocket extends EventTarget {
  static CONNECTING = CONNECTING;
  static OPEN = OPEN;
  static CLOSING = CLOSING;
  static CLOSED = CLOSED;
  CONNECTING = CONNECTING;
  OPEN = OPEN;
  CLOSING = CLOSING;
  CLOSED = CLOSED;

  url;
  protocol = "";
  extensions = "";
  /** What the client offered. */
  protocols;
  readyState = CONNECTING;
  bufferedAmount = 0;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  #binaryType = "blob";
  #onError;
  #frames;
  #decided; // resolves to the subprotocol, or undefined if the page does not accept
  #decide;
  #writer;
  #queue = []; // messages that have not been sent
  #pong; // payload of the latest ping that has not been answered
  #closing; // close frame to send behind the queue
  #drop = false; // nobody is there any more for what waits
  #pumps = false;
  #sent; // resolves when all that waited has been sent
  #wentOut = () => {}; // called when something was sent, or nothing will be
  #closeSent = false;
  #heard; // the client's close message
  #stop; // ends the reading

  constructor(url, protocols, { maxMessage, onError }) {
    super();
    this.url = url;
    this.protocols = Object.freeze(protocols);
    this.#onError = onError;
    this.#frames = new FrameReader(maxMessage);
    this.#decided = new Promise((resolve) => { this.#decide = resolve; });
    for (const type of ["open", "message", "error", "close"]) {
      this.addEventListener(type, (event) => this.#callHandler(this[`on${type}`], event));
    }
  }

  get binaryType() {
    return this.#binaryType;
  }

  set binaryType(type) {
    if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
  }

  accept(protocol = this.protocols[0] ?? "") {
    this.#decide(Promise.resolve(protocol).then((name) => {
      if (name && !this.protocols.includes(name)) throw new TypeError(`the client did not offer the subprotocol ${name}`);
      return name ?? "";
    }));
  }

  send(data) {
    if (this.readyState === CONNECTING) throw new DOMException("the WebSocket is not open yet", "InvalidStateError");
    const message = messageOf(data);
    this.bufferedAmount += message.size;
    if (this.readyState !== OPEN) return; // as a browser does it: the amount grows all the same
    this.#queue.push(message);
    this.#pump();
  }

  close(code, reason = "") {
    if (code !== undefined && !isCloseCode(code)) throw new DOMException(`${code} is no close code`, "InvalidAccessError");
    if (encodeText(reason).length > maxControl - 2) throw new DOMException("the reason is longer than 123 bytes", "SyntaxError");
    if (this.readyState === CONNECTING) return ServerSocket.refuse(this);
    if (this.readyState === OPEN) this.#hangUp(code ?? (reason ? 1000 : undefined), reason);
  }

  // For the connection.

  /** What the page decides: what it has not by now is yes. */
  static async decision(socket) {
    socket.accept();
    const protocol = await socket.#decided;
    return socket.readyState === CONNECTING ? protocol : undefined;
  }

  /** There will be no WebSocket. */
  static refuse(socket) {
    socket.#decide(undefined);
    if (socket.readyState === CONNECTING) socket.#end({ code: 1006, reason: "" }, false);
  }

  /** Carries the WebSocket from the handshake to its end. It rejects if the connection fails. */
  static async run(socket, protocol, input, writer) {
    socket.protocol = protocol;
    socket.#writer = writer;
    socket.readyState = OPEN;
    socket.dispatchEvent(new Event("open"));
    const stopped = new Promise((resolve) => { socket.#stop = resolve; });
    try {
      await Promise.race([socket.#read(input), stopped]);
      await socket.#sent;
      const { code, reason } = socket.#heard ?? { code: 1006, reason: "" };
      socket.#end({ code, reason }, socket.#heard !== undefined && socket.#closeSent);
    } catch (error) {
      socket.dispatchEvent(new Event("error"));
      socket.#end({ code: 1006, reason: "" }, false);
      throw error;
    }
  }

  // What the client says.

  async #read(input) {
    try {
      for (let bytes; !this.#heard && (bytes = await input.read()) !== undefined;) {
        await this.#room();
        for (const message of this.#frames.push(bytes)) {
          this.#receive(message);
          if (this.#heard) return;
        }
      }
      this.#drop = true;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#drop = true;
      this.#hangUp(error.code, error.message);
      this.dispatchEvent(new Event("error"));
    }
  }

  #receive(message) {
    switch (message.type) {
      case "ping":
        this.#pong = message.data.slice();
        return this.#pump();
      case "pong":
        return undefined;
      case "close":
        this.#heard = message;
        return this.#hangUp(message.code, message.reason);
    }
    if (this.readyState === OPEN) this.dispatchEvent(new MessageEvent("message", { data: this.#dataOf(message) }));
  }

  #dataOf({ type, data }) {
    if (type === "text") return data;
    return this.#binaryType === "blob" ? new Blob([data]) : data.slice().buffer;
  }

  // What is sent.

  #hangUp(code, reason) {
    this.readyState = CLOSING;
    this.#closing ??= encodeClose(code, reason);
    this.#pump();
  }

  /** Sends what waits, in order, but for a pong, which goes between any two frames. */
  #pump() {
    if (this.#pumps) return;
    this.#pumps = true;
    this.#sent = this.#sendAll().catch(() => this.#giveUp()); // who reads sees the connection's failure, too
  }

  async #sendAll() {
    try {
      while (this.#pong || this.#queue.length > 0 && !this.#drop) {
        await this.#sendPong();
        if (this.#queue.length > 0 && !this.#drop) await this.#sendMessage(this.#queue.shift());
      }
      if (!this.#closing || this.#closeSent) return;
      this.#closeSent = true;
      await this.#writer.write(this.#closing);
      if (!this.#heard) this.#await();
    } finally {
      this.#pumps = false;
    }
  }

  async #sendPong() {
    const pong = this.#pong;
    this.#pong = undefined;
    if (pong && !this.#closeSent) await this.#writer.write(encodeFrame("pong", pong));
  }

  async #sendMessage({ type, data }) {
    const bytes = data instanceof Blob ? new Uint8Array(await data.arrayBuffer()) : data;
    let at = 0;
    do {
      if (this.#drop) return;
      const part = bytes.subarray(at, at + frameSize);
      await this.#writer.write(encodeFrame(at === 0 ? type : "continuation", part, at + part.length === bytes.length));
      this.bufferedAmount -= part.length;
      this.#wentOut();
      at += part.length;
      await this.#sendPong();
    } while (at < bytes.length);
  }

  #giveUp() {
    this.#drop = true;
    this.#wentOut();
  }

  async #room() {
    while (this.bufferedAmount > mostUnsent && !this.#drop && this.readyState === OPEN) {
      await new Promise((resolve) => { this.#wentOut = resolve; });
    }
  }

  /** A client that does not answer a close frame must not keep the connection. */
  #await() {
    const timer = setTimeout(this.#stop, closeTimeout);
    timer.unref?.();
    this.addEventListener("close", () => clearTimeout(timer));
  }

  #end({ code, reason }, wasClean) {
    this.readyState = CLOSED;
    this.#queue = [];
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }

  /** In Node what a listener throws would end the process. */
  #callHandler(handler, event) {
    try {
      handler?.call(this, event);
    } catch (error) {
      this.#onError(error);
    }
  }
}

/** What is sent is what it is now: the page may use its buffer again. */
function messageOf(data) {
  if (data instanceof Blob) return { type: "binary", data, size: data.size };
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
    const bytes = bytesOf(data).slice();
    return { type: "binary", data: bytes, size: bytes.length };
  }
  const bytes = encodeText(String(data));
  return { type: "text", data: bytes, size: bytes.length };
}
