import { relayAddress } from "./address.js";
import { bytesOf } from "./bytes.js";
import { closeError, WsproxyError } from "./error.js";
import { Outlet, pieceSize } from "./outlet.js";
import { openSocket } from "./socket.js";

/**
 * Opens a TCP connection to a host and port, through the server. Documented in
 * wsproxy.d.ts; docs/protocol.md, 3.
 */
export async function connectRelay(options) {
  const relay = new Relay(options.signal);
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
  #input; // controller of readable
  #output; // controller of writable
  #resolveClosed;
  #rejectClosed;
  #inputEnded = false;
  #ended = false; // closed is settled

  constructor(signal) {
    this.#signal = signal;
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    this.closed.catch(() => {}); // who does not look at it is told by the streams
    this.readable = new ReadableStream({
      start: (controller) => { this.#input = controller; },
      cancel: () => this.#hangUp(),
    });
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
    if (this.#inputEnded || typeof data === "string") return; // the server sends no text
    this.#input.enqueue(new Uint8Array(data));
  }

  ended({ code, reason }) {
    if (code !== 1000) this.#fail(closeError({ code, reason }));
    if (this.#ended) return;
    this.#end();
    this.#endInput();
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
    this.#inputEnded = true;
    this.#output.error(new WsproxyError("the relay was closed by cancelling its readable"));
    this.#outlet.close();
  }

  // Ends.

  #fail(error = new WsproxyError("the relay was aborted")) {
    if (this.#ended) return;
    this.#end();
    this.#inputEnded = true;
    this.#input.error(error);
    this.#output.error(error);
    this.#outlet.close();
    this.#rejectClosed(error);
  }

  #endInput() {
    if (this.#inputEnded) return;
    this.#inputEnded = true;
    this.#input.close();
  }

  #end() {
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#aborted);
  }
}
