import { relayAddress } from "./address.js";
import { bytesOf } from "./bytes.js";
import { closeError, WsproxyError } from "./error.js";
import { Inlet } from "./inlet.js";
import { openLine } from "./line.js";
import { positive } from "./options.js";
import { pieceSize } from "./outlet.js";
import { units } from "./replay.js";

/** Bytes that may wait for the page to read them, without the option maxUnread, in a plain session. */
const defaultMaxUnread = 64 << 20;
/** The same where the page holds the target up: with it a line of 50 ms carries 600 Mbit/s. */
const defaultWindow = 4 << 20;
/** What fits into a limit, and is as good as none. */
const mostWindow = 2 ** 40;

/**
 * Opens a TCP connection to a host and port, through the server. Documented in
 * wsproxy.d.ts; docs/protocol.md, 3.
 */
export async function connectRelay(options) {
  const relay = new Relay(options);
  await openLine(relayAddress(options), relay.lineOptions, units.bytes, relay);
  const { readable, writable, closed } = relay;
  return { readable, writable, closed, get state() { return relay.state; } };
}

class Relay {
  readable;
  writable;
  closed;

  #line;
  #options;
  #signal;
  #aborted = () => this.#fail(this.#signal.reason);
  #input;
  #maxUnread; // bytes, or undefined
  #output; // controller of writable
  #resolveClosed;
  #rejectClosed;
  #ended = false; // closed is settled

  constructor(options) {
    this.#options = options;
    this.#signal = options.signal;
    this.#maxUnread = positive(options, "maxUnread");
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    this.closed.catch(() => {}); // who does not look at it is told by the streams
    this.#input = new Inlet({ taken: () => this.#line.passed?.(this.#input.waiting), cancelled: () => this.#hangUp() });
    this.readable = this.#input.readable;
    this.writable = new WritableStream({
      start: (controller) => this.#startOutput(controller),
      write: (chunk) => this.#write(chunk),
      close: () => this.#closeOutput(),
      abort: (reason) => this.#fail(reason),
    });
  }

  get lineOptions() {
    const window = Math.min(Math.floor(this.#maxUnread ?? defaultWindow), mostWindow);
    const onError = (error) => console.error("wsproxy:", error);
    return { ...this.#options, window, onError };
  }

  get state() {
    return this.#ended ? "closed" : this.#line.state;
  }

  // What the server says.

  opened(line) {
    this.#line = line;
    this.#signal?.addEventListener("abort", this.#aborted);
  }

  received(data) {
    if (typeof data === "string") return; // the server sends no text
    this.#input.push(data);
    const most = this.#maxUnread ?? defaultMaxUnread;
    if (!this.#line.resumes && this.#input.waiting > most) {
      this.#fail(new WsproxyError(`more than maxUnread, ${most} bytes, wait to be read by the page`));
    }
  }

  /** The target has ended. Without allowHalfOpen that is the end of both directions, as in a plain session. */
  peerEnded() {
    this.#input.close();
    if (this.#options.allowHalfOpen) return;
    this.#output.error(new WsproxyError("the relay has ended", { code: 1000 }));
    this.#line.end();
  }

  ended({ code, reason, error }) {
    if (error || code !== 1000) this.#fail(error ?? closeError({ code, reason }));
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
      await this.#line.room();
      if (!this.#line.isOpen) await this.#whyEnded();
      const piece = rest.subarray(0, Math.min(pieceSize, this.#line.space));
      this.#line.send(piece);
      rest = rest.subarray(piece.length);
    }
  }

  /** Throws what the WebSocket is about to say, or has said. */
  async #whyEnded() {
    const { code, reason } = await this.closed;
    throw new WsproxyError("the relay has ended", { code, reason });
  }

  /**
   * A half-close, and in a plain session the end of both directions. Once it is
   * closing, a browser waits a minute or so for the server, which has to pass
   * everything on first. What waits here is not to count.
   */
  async #closeOutput() {
    if (this.#line.resumes) {
      await this.#line.end();
      if (this.#line.isOpen) return;
    } else {
      await this.#line.room(0);
      this.#line.close();
    }
    await this.closed;
  }

  /** Nothing more is wanted; what was written is delivered. */
  #hangUp() {
    this.#output.error(new WsproxyError("the relay was closed by cancelling its readable"));
    this.#line.close();
  }

  // Ends.

  #fail(error = new WsproxyError("the relay was aborted")) {
    if (this.#ended) return;
    this.#end();
    this.#input.error(error);
    this.#output.error(error);
    this.#line.abort();
    this.#rejectClosed(error);
  }

  #end() {
    this.#ended = true;
    this.#signal?.removeEventListener("abort", this.#aborted);
  }
}
