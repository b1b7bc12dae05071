import { highWater } from "./outlet.js";

/**
 * Bytes that may wait in the WebSocket before the next piece joins them: all
 * that comes later stands behind them. It is what the line takes in `ahead`
 * milliseconds, but at least 32 KiB, which are 26 ms of an uplink of 10 Mbit/s.
 */
const lowWater = 32 << 10;
const ahead = 25;
/** Milliseconds over which the line is measured: it takes in bursts what the system has buffers for. */
const period = 100;
/** Largest payload of one message. */
const pieceSize = 32 << 10;
/** The same while more than `few` wait, so that a round of all of them stays short. */
const smallPieceSize = 4 << 10;
const few = 4;

/**
 * Decides which of a tunnel's connections sends next, by start-time fair
 * queueing (Goyal, Vin, Cheng 1996): each has a count of the bytes that it has
 * sent, and next is the one that will have the lowest after its piece. One that
 * had nothing to send begins at the count at which others are served: it has
 * saved nothing up, but a small message goes first.
 *
 * Control messages don't come here: they go to the WebSocket at once.
 */
export class Turns {
  #outlet;
  #waiting = new Set();
  #served = 0; // the count with which the last one was served
  #limit = lowWater;
  #runs = false;
  #measured; // since when the line is measured, what waited then, what was sent since then, the shortest wait

  /** @param {import("./outlet.js").Outlet} outlet */
  constructor(outlet) {
    this.#outlet = outlet;
  }

  /**
   * Asks for turns until the source says that it needs no more.
   *
   * @param {{sent: number, waiting: number, sendPiece: (size: number) => number}} source
   *   `waiting` are the bytes that it may send; sendPiece sends a message with up to `size` bytes of payload and returns the message's length
   */
  ask(source) {
    if (this.#waiting.has(source)) return;
    source.sent = Math.max(source.sent, this.#served);
    this.#waiting.add(source);
    if (!this.#runs) this.#run();
  }

  async #run() {
    this.#runs = true;
    this.#measureAnew();
    while (this.#waiting.size > 0) {
      await this.#room();
      this.#serve(this.#next());
    }
    this.#runs = false;
  }

  #serve(source) {
    if (source.waiting > 0) {
      this.#served = Math.max(this.#served, source.sent);
      const length = source.sendPiece(this.#pieceSize);
      source.sent += length;
      this.#measured.sent += length;
    }
    if (source.waiting === 0) this.#waiting.delete(source);
  }

  get #pieceSize() {
    return this.#waiting.size > few ? smallPieceSize : pieceSize;
  }

  /** Of those with the same count the latest: it had nothing waiting until now. */
  #next() {
    const size = this.#pieceSize;
    let next, least = Infinity;
    for (const source of this.#waiting) {
      const count = source.sent + Math.min(source.waiting, size);
      if (count > least) continue;
      next = source;
      least = count;
    }
    return next;
  }

  async #room() {
    const start = Date.now();
    await this.#outlet.room(this.#limit);
    const now = Date.now(), { since, backlog, sent, shortest } = this.#measured;
    if (now > start) this.#measured.shortest = Math.min(shortest, now - start);
    if (now - since < period) return;
    const rate = (backlog + sent - this.#outlet.backlog) / (now - since);
    // Where looks are rare, as in a hidden page, it must not run dry between two.
    const wait = this.#measured.shortest;
    const wanted = rate * (wait < Infinity ? Math.max(ahead, 2 * wait) : ahead);
    this.#limit = Math.min(Math.max(wanted, lowWater), highWater);
    this.#measureAnew();
  }

  #measureAnew() {
    this.#measured = { since: Date.now(), backlog: this.#outlet.backlog, sent: 0, shortest: Infinity };
  }
}
