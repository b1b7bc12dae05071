/** Bytes that may wait in a WebSocket before a writer is held up: enough to keep a fast line busy between two looks. */
export const highWater = 1 << 20;
/** Payload bytes of one message of a relay: as many as the server handles at once. */
export const pieceSize = 64 << 10;
/** Longest time between two looks at what waits, in milliseconds. */
const longestPause = 50;

const OPEN = 1; // WebSocket.OPEN

/**
 * The sending side of a WebSocket, and all there is to a plain session of it;
 * Resumable has the same API. `send` never blocks and buffers without
 * end, and no event tells when the buffer has drained: it has to be looked at.
 */
export class Outlet {
  /** Whether what is sent outlives this WebSocket. */
  resumes = false;
  /** How much may be sent after room(). */
  space = Infinity;

  #socket;
  #pause; // the one timer, while somebody waits
  #wake; // ends the pause before its time
  #delay = 1;

  /** @param {WebSocket} socket that is open */
  constructor(socket) {
    this.#socket = socket;
  }

  get isOpen() {
    return this.#socket.readyState === OPEN;
  }

  /** As a page is told it. */
  get state() {
    return this.isOpen ? "connected" : "closed";
  }

  /** Bytes that wait in the WebSocket. */
  get backlog() {
    return this.#socket.bufferedAmount;
  }

  /** @param {string | Uint8Array} message dropped when the WebSocket is not open any more */
  send(message) {
    if (this.isOpen) this.#socket.send(message);
  }

  /** Sends what waits, and then a close frame. */
  close(code = 1000, reason = "") {
    this.#socket.close(code, reason);
  }

  /** The same: what was given to a plain WebSocket can't be taken back. */
  abort() {
    this.close();
  }

  /**
   * Waits until no more than `limit` bytes wait to be sent, or the WebSocket
   * has ended.
   */
  async room(limit = highWater) {
    while (this.isOpen && this.#socket.bufferedAmount > limit) await (this.#pause ??= this.#nextLook());
  }

  /** Has who waits look now: the timers of a hidden page come once a second or less, what the server says does not. */
  look() {
    this.#wake?.(false);
  }

  async #nextLook() {
    const before = this.#socket.bufferedAmount;
    let timer;
    const inTime = await new Promise((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, this.#delay, true);
    });
    clearTimeout(timer);
    if (this.#socket.bufferedAmount !== before) this.#delay = 1;
    else if (inTime) this.#delay = Math.min(2 * this.#delay, longestPause);
    this.#pause = this.#wake = undefined;
  }
}
