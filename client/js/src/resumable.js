import { restartSpread } from "./backoff.js";
import { closeError, WsproxyError } from "./error.js";
import { highWater, Outlet } from "./outlet.js";
import { watchPage } from "./page.js";
import { Pulse } from "./pulse.js";
import { isCount, Receiver, Sender, splitTrailer, units } from "./replay.js";
import { abandon, TakeUp } from "./takeup.js";

/** Bytes that may wait in the WebSocket before kept ones join them: acknowledgements and questions stand behind them. */
const flushWater = 256 << 10;
/** Milliseconds that an acknowledgement may wait for more to acknowledge. The contract's second includes the timers of hidden pages. */
const ackDelay = 250;
/** Milliseconds that the answer to a close frame may take. A browser waits for a minute, and hears nothing meanwhile. */
const closeTimeout = 10_000;
/** Milliseconds in which a detached session that is of no use any more is tried to be ended. */
const farewell = 5000;
/**
 * Close codes that end the session. Any other, and the end without one, is the
 * end of that WebSocket alone: front proxies have words of their own.
 */
export const finalCodes = new Set([1000, 1002, 1003, 1008, 1009, 1011, 4001, 4404, 4409]);
/** What a page says where others say 1002 or 1003, which it can't. */
const violation = 3002;
/** How a WebSocket ends that nobody has closed. */
const cut = { code: 1006, reason: "" };

/**
 * A session that outlives its WebSocket, with the sending side's API of Outlet.
 * What is sent is kept until it is acknowledged, and goes out again on the next
 * WebSocket from where the server has not got it.
 */
export class Resumable {
  resumes = true;
  /** @type {"connected" | "detached" | "closed"} */
  state = "connected";
  /** Resolves when the session has begun, or its first WebSocket ended before: to `{code, reason}` then. */
  begun;

  #options;
  #unit;
  #receiver;
  #sender;
  #came;
  #pulse;
  #takeUp; // once the session has begun
  #timeout; // milliseconds for which the server keeps it when it is detached
  #detachedAt;
  #socket; // while it is attached
  #outlet; // of #socket
  #ackTimer;
  #closeTimer;
  #isFlushing = false;
  #change; // a promise, while somebody waits for one
  #changed = () => {};
  #peerEnded = false;
  #ended = false; // by this side: its eof follows what is kept
  #saidEnd = false; // on this WebSocket
  #closing; // {code, reason} with which this side ends the session, and until when, if nobody waits for it
  #isTold = false; // the receiver knows of the end
  #over = new AbortController();
  #unwatch = () => {};
  #resolveBegun;

  /**
   * @param {object} options `address` of the endpoint, token, onDetached, onResumed; `window` in what positions count; `onError` gets what the callbacks throw
   * @param {typeof units.bytes} unit what positions count
   * @param {object} receiver opened(line), received(data), peerEnded() and ended({code, reason, error})
   */
  constructor(options, unit, receiver) {
    this.#options = options;
    this.#unit = unit;
    this.#receiver = receiver;
    this.#sender = new Sender(unit);
    this.#came = new Receiver(unit, options.window);
    this.begun = new Promise((resolve) => { this.#resolveBegun = resolve; });
    this.#pulse = new Pulse({
      ask: () => this.#say({ type: "ping" }),
      isOwed: () => this.#sender.sent > this.#sender.acknowledged || (this.#saidEnd && this.#peerEnded),
      backlog: () => this.backlog,
      lost: () => this.#lost(cut),
    });
  }

  // What a WebSocket says, the first one and each that takes the session up.

  /** @param {WebSocket} socket that is open */
  attach(socket) {
    this.#socket = socket;
    this.#outlet = new Outlet(socket);
    this.#saidEnd = false;
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => this.#closed({ code, reason });
    socket.onerror = () => {}; // close follows
    this.#pulse.start();
  }

  #received(data) {
    if (typeof data === "string") this.#text(data);
    else this.#binary(new Uint8Array(data));
    this.#outlet?.look();
  }

  #closed(end) {
    if (this.#takeUp && (finalCodes.has(end.code) || end.code === this.#closing?.code)) this.#finish(end);
    else this.#lost(end);
  }

  #text(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#lost(cut); // who ended it made what was cut look whole
    }
    this.#pulse.heard();
    switch (message?.type) {
      case "session": return this.#begin(message);
      case "ack": return this.#acked(message);
      case "ping": return this.#say({ type: "pong" });
      case "pong": return undefined;
      case "eof": return this.#peerEnd();
    }
    if (this.#unit === units.messages) this.#deliver(message, 1);
    else this.#violated("a message of a kind that a relay does not have");
  }

  #binary(bytes) {
    const { payload, position } = splitTrailer(bytes);
    const count = this.#unit.countOf(payload);
    if (position === this.#came.position + count) this.#deliver(payload, count);
    else this.#lost(cut);
  }

  #deliver(data, count) {
    if (!this.#takeUp) return this.#violated("something before the session began");
    if (this.#peerEnded) return this.#violated("something behind its end");
    if (!this.#came.came(count)) return this.#violated("more than it may");
    this.#pulse.heard(true);
    this.#progressed();
    if (!this.#closing) this.#receiver.received(data);
    if (this.#closing || this.#unit === units.messages) this.passed();
  }

  #peerEnd() {
    if (this.#unit === units.messages || this.#peerEnded) return;
    this.#peerEnded = true;
    this.#receiver.peerEnded();
  }

  #begin({ resume, timeout, limit }) {
    const isWhole = typeof resume === "string" && timeout > 0 && isCount(limit);
    if (this.#takeUp || !isWhole) return this.#violated("what is no beginning of a session");
    this.#timeout = 1000 * timeout;
    this.#takeUp = new TakeUp({
      ...this.#options,
      session: resume,
      position: () => ({ [this.#unit.name]: this.#came.position }),
      taken: (socket, data) => this.#taken(socket, data),
    });
    this.#sender.acked(0, limit);
    this.#ack();
    this.#unwatch = watchPage({
      woke: () => this.#hurry(false),
      moved: () => this.#hurry(true),
      left: (isKept) => this.#left(isKept),
    });
    this.#receiver.opened(this);
    this.#resolveBegun();
  }

  #acked({ [this.#unit.name]: position, limit }) {
    const before = this.#sender.acknowledged;
    if (!isCount(position) || !isCount(limit) || !this.#sender.acked(position, limit)) {
      return this.#violated("an acknowledgement of what was not sent");
    }
    if (position > before) this.#progressed();
    this.#flush();
    this.#tellChange();
  }

  #progressed() {
    this.#takeUp.progressed();
    this.#pulse.progressed();
  }

  // What the owner does: the API of Outlet, and what goes beyond it.

  get isOpen() {
    return this.state !== "closed" && !this.#closing;
  }

  get backlog() {
    return this.#outlet?.backlog ?? 0;
  }

  /** How much may be sent after room(), in what positions count. */
  get space() {
    return this.#sender.space;
  }

  send(message) {
    if (!this.isOpen || this.#ended) return;
    this.#sender.keep(message);
    this.#flush();
  }

  /** Waits until something may be sent and no more than `limit` bytes wait in the WebSocket, or the session has ended. */
  async room(limit = highWater) {
    while (this.isOpen) {
      const isReady = this.#outlet?.isOpen && !this.#sender.isPending && this.space > 0;
      if (isReady && this.backlog <= limit) return;
      await (isReady ? this.#outlet.room(limit) : this.#nextChange());
    }
  }

  look() {
    this.#outlet?.look();
  }

  /** Everything that has come but so much was passed on. */
  passed(waiting = 0) {
    this.#came.passedAllBut(waiting);
    if (!this.#socket) return; // the next one begins with an ack
    if (this.#came.isDue) this.#ack();
    else if (this.#came.isWaiting) this.#ackTimer ??= setTimeout(() => this.#ack(), ackDelay);
  }

  /** Half-close. Resolves when everything was delivered, or the session is over. */
  async end() {
    this.#ended = true;
    this.#flush();
    while (this.isOpen && !(this.#saidEnd && this.#isDelivered)) await this.#nextChange();
  }

  /** Ends the session in order, after everything was sent. */
  close(code = 1000, reason = "") {
    if (!this.isOpen) return;
    this.#closing = { code, reason, deadline: Infinity };
    this.#flush();
    this.#tellChange();
  }

  /** Ends it at once: what the server has not got is lost. A detached one is ended in the background. */
  abort(code = 3000) {
    if (this.state === "closed" || this.#closing?.deadline < Infinity) return;
    this.#sender.drop();
    this.#ended = false; // a target must not take it for whole
    this.#closing = { code, reason: "", deadline: Date.now() + farewell };
    if (this.#socket) this.#flush();
    else this.#tellEnd(this.#closing);
    this.#tellChange();
  }

  #violated(what) {
    const error = new WsproxyError(`the server sent ${what}`);
    this.abort(violation);
    this.#tellEnd({ code: violation, reason: "", error });
  }

  // The WebSocket of now.

  get #isDelivered() {
    return this.#sender.acknowledged === this.#sender.position;
  }

  #say(message) {
    this.#outlet?.send(JSON.stringify(message));
  }

  #ack() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    if (this.#socket) this.#say(this.#came.ack());
  }

  #flush() {
    if (!this.#outlet?.isOpen) return;
    for (let message; this.backlog <= flushWater && (message = this.#sender.next()) !== undefined;) this.#outlet.send(message);
    this.#pulse.look();
    if (!this.#sender.isPending) this.#flushed();
    else if (this.backlog > flushWater) this.#flushLater();
  }

  async #flushLater() {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    await this.#outlet.room(flushWater);
    this.#isFlushing = false;
    this.#flush();
    this.#tellChange();
  }

  /** Everything is in the WebSocket; its ends follow. */
  #flushed() {
    if (this.#ended && !this.#saidEnd) {
      this.#saidEnd = true;
      this.#say({ type: "eof" });
    }
    if (!this.#closing) return;
    this.#pulse.stop(); // nothing that comes can be seen from here on
    this.#closeTimer ??= setTimeout(() => this.#lost(cut), closeTimeout);
    this.#outlet.close(this.#closing.code, this.#closing.reason);
  }

  #nextChange() {
    return (this.#change ??= new Promise((resolve) => { this.#changed = resolve; }));
  }

  #tellChange() {
    this.#change = undefined;
    this.#changed();
  }

  // Without one.

  #lost(end) {
    this.#detach();
    if (!this.#takeUp) return this.#resolveBegun(end);
    this.state = "detached";
    this.#detachedAt = Date.now();
    if (this.#closing?.deadline < Infinity) this.#tellEnd(this.#closing);
    if (!this.#closing) this.#tell(this.#options.onDetached, closeError(end));
    const left = () => Math.min(this.#detachedAt + this.#timeout, this.#closing?.deadline ?? Infinity) - Date.now();
    this.#takeUp.run(restartSpread(end), left, this.#over.signal)
      .then((over) => over && this.#finish(over))
      .catch((error) => { if (!this.#over.signal.aborted) throw error; });
  }

  #detach() {
    this.#pulse.stop();
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#closeTimer);
    this.#ackTimer = this.#closeTimer = undefined;
    if (this.#socket) abandon(this.#socket);
    this.#socket = this.#outlet = undefined;
  }

  /** @returns {boolean} whether the session goes on, on this WebSocket */
  #taken(socket, data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return false;
    }
    const { type, [this.#unit.name]: position, limit } = message ?? {};
    if (type !== "resumed" || !isCount(position) || !isCount(limit)) return false;
    if (!this.#sender.rewind(position)) {
      this.#finish({ code: 4409, reason: "the server's position is not one of this session" });
      return false;
    }
    this.attach(socket);
    this.state = "connected";
    this.#sender.acked(0, limit);
    this.#ack();
    if (!this.#closing) this.#tell(this.#options.onResumed, { away: Date.now() - this.#detachedAt });
    this.#flush();
    this.#tellChange();
    return true;
  }

  #hurry(isMoved) {
    if (this.#socket) this.#pulse.ask();
    else this.#takeUp.hurry(isMoved);
  }

  #left(isKept) {
    if (!isKept) this.abort(this.#saidEnd ? 1000 : 3000);
    else if (this.#socket) this.#lost({ code: 1001, reason: "" }); // an open WebSocket would not be kept
  }

  // Ends.

  #finish(end) {
    this.state = "closed";
    this.#detach();
    this.#unwatch();
    this.#over.abort();
    // Who was told that there is nothing left has closed it already; the answer to that was lost.
    const isClosed = end.code === 4404 && this.#closing && this.#isDelivered;
    this.#tellEnd(isClosed ? this.#closing : end);
    this.#tellChange();
  }

  #tellEnd({ code, reason, error }) {
    if (!this.#takeUp) this.#resolveBegun({ code, reason, error });
    else if (!this.#isTold) this.#receiver.ended({ code, reason, error });
    this.#isTold = true;
  }

  #tell(callback, value) {
    try {
      callback?.(value);
    } catch (error) {
      this.#options.onError(error);
    }
  }
}
