import { relayAddress } from "./address.js";
import { bytesOf } from "./bytes.js";
import { closeError, WsproxyError } from "./error.js";
import { Inlet } from "./inlet.js";
import { Outlet, pieceSize } from "./outlet.js";
import { positive } from "./options.js";
import { openSocket } from "./socket.js";

/** Bytes that may wait for the page to read them, without the option maxUnread. */
const defaultMaxUnread = 64 << 20;

/**
 * Opens a TCP connection to a host and port, through the server. Documented in
 * wsproxy.d.ts; docs/protocol.md, 3.
 */
export async function connectRelay(options) {
  const relay = new Relay(options);
  await openSocket(relayAddress(options), options, relay);
  const { readable, writable, closed } = relay;
  return { readable, writable, closed };
}

class Relay {
  readable;
  writable;
  closed;

  #outlet;
  #signal;
  #aborted = () => this.#fail(this.#signal.reason);
  #input;
  #maxUnread; // bytes
  #output; // controller of writable
  #resolveClosed;
  #rejectClosed;
  #ended = false; // closed is settled

  constructor(options) {
    this.#signal = options.signal;
    this.#maxUnread = positive(options, "maxUnread") ?? defaultMaxUnread;
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    this.closed.catch(() => {}); // who does not look at it is told by the streams
    this.#input = new Inlet({ cancelled: () => this.#hangUp() });
    this.readable = this.#input.readable;
    this.writable = new WritableStream({
      start: (controller) => this.#startOutput(controller),
      write: (chunk) => this.#write(chunk),
      close: () => this.#closeOutput(),
      abort: (reason) => this.#fail(reason),
    });
  }

  // What the WebSocket says.

  opened(socket) {
    this.#outlet = new Outlet(socket);
    this.#signal?.addEventListener("abort", this.#aborted);
  }

  received(data) {
    if (typeof data === "string") return; // the server sends no text
    this.#input.push(new Uint8Array(data));
    if (this.#input.waiting > this.#maxUnread) {
      this.#fail(new WsproxyError(`more than maxUnread, ${this.#maxUnread} bytes, wait to be read by the page`));
    }
  }

  ended({ code, reason }) {
    if (code !== 1000) this.#fail(closeError({ code, reason }));
    if (this.#ended) return;
    this.#end();
    this.#input.close();
    this.#output.error(new WsproxyError("the relay has ended", { code, reason }));
    this.#resolveClosed({ code, reason });
  }

  // What the page does.

  #startOutput(controller) {
    this.#output = controller;
    // A write that waits for the server would hold the abort up.
    controller.signal?.addEventListener("abort", () => {
      queueMicrotask(() => this.#fail(controller.signal.reason)); // Node's streams can't be errored right here
    });
  }

  async #write(chunk) {
    let rest;
    try {
      rest = bytesOf(chunk);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    while (rest.length > 0) {
      await this.#outlet.room();
      if (!this.#outlet.isOpen) await this.#whyEnded();
      this.#outlet.send(rest.subarray(0, pieceSize));
      rest = rest.subarray(pieceSize);
    }
  }

  /** Throws what the WebSocket is about to say, or has said. */
  async #whyEnded() {
    const { code, reason } = await this.closed;
    throw new WsproxyError("the relay has ended", { code, reason });
  }

  /**
   * Once it is closing, a browser waits a minute or so for the server, which
   * has to pass everything on first. What waits here is not to count.
   */
  async #closeOutput() {
    await this.#outlet.room(0);
    this.#outlet.close();
    await this.closed;
  }

  /** Nothing more is wanted; what was written is delivered. */
  #hangUp() {
    this.#output.error(new WsproxyError("the relay was closed by cancelling its readable"));
    this.#outlet.close();
  }

  // Ends.

  #fail(error = new WsproxyError("the relay was aborted")) {
    if (this.#ended) return;
    this.#end();
    this.#input.error(error);
    this.#output.error(error);
    this.#outlet.close();
    this.#rejectClosed(error);
  }

  #end() {
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#aborted);
  }
}
