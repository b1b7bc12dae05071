import { highWater } from "./outlet.js";

/**
 * Bytes that may wait in the WebSocket before the next piece joins them. All
 * that comes later stands behind them: 32 KiB and one piece are 40 ms of an
 * uplink of 10 Mbit/s, and enough for 12 MB/s where timers take 4 ms.
 */
const lowWater = 32 << 10;
/** Largest payload of one message. */
const pieceSize = 16 << 10;
/** The same while more than `few` wait, so that a round of all of them stays short. */
const smallPieceSize = 4 << 10;
const few = 4;
/** A look that came so many milliseconds after it was asked for is one of a hidden page, whose timers are slow. */
const late = 100;

/**
 * Decides which of a tunnel's connections sends next: start-time fair queueing
 * (Goyal, Vin, Cheng 1996). Each connection has a count of the bytes that it
 * has sent, and the lowest is next. One that had nothing to send begins at the
 * count of whoever was served last, and so is first; it has saved nothing up.
 *
 * Control messages don't come here: they go to the WebSocket at once.
 */
export class Turns {
  #outlet;
  #waiting = new Set();
  #served = 0; // the count with which the last one was served
  #limit = lowWater;
  #runs = false;

  /** @param {import("./outlet.js").Outlet} outlet */
  constructor(outlet) {
    this.#outlet = outlet;
  }

  /**
   * Asks for turns until the source says that it needs no more.
   *
   * @param {{sent: number, isWaiting: boolean, sendPiece: (size: number) => number}} source
   *   sendPiece sends a message with up to `size` bytes of payload and returns the message's length
   */
  ask(source) {
    if (this.#waiting.has(source)) return;
    source.sent = Math.max(source.sent, this.#served);
    this.#waiting.add(source);
    if (!this.#runs) this.#run();
  }

  async #run() {
    this.#runs = true;
    while (this.#waiting.size > 0) {
      await this.#room();
      this.#serve(this.#next());
    }
    this.#runs = false;
  }

  #serve(source) {
    if (source.isWaiting) {
      this.#served = source.sent;
      source.sent += source.sendPiece(this.#waiting.size > few ? smallPieceSize : pieceSize);
    }
    if (!source.isWaiting) this.#waiting.delete(source);
  }

  /** Of those with the same count the latest: it had nothing waiting until now. */
  #next() {
    let next;
    for (const source of this.#waiting) {
      if (next === undefined || source.sent <= next.sent) next = source;
    }
    return next;
  }

  /** Where looks are late the WebSocket would run dry between two: then more may wait in it. */
  async #room() {
    const start = Date.now();
    await this.#outlet.room(this.#limit);
    const waited = Date.now() - start;
    if (waited > late && this.#outlet.backlog === 0) this.#limit = Math.min(2 * this.#limit, highWater);
    else if (waited > 0) this.#limit = lowWater;
  }
}
