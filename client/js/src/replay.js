/**
 * Positions, what is kept until it is acknowledged, and what may be sent: one
 * side of a session that outlives its WebSocket. No socket, no timer; the wire
 * contract calls it resume.
 */

/**
 * What positions count. `first` is what may be under way before a limit was
 * told, `step` after how much at the latest an acknowledgement is due.
 */
export const units = {
  bytes: { name: "bytes", first: 64 << 10, step: 32 << 10, countOf: (data) => data.length },
  messages: { name: "messages", first: 64, step: 32, countOf: () => 1 },
};

/** Most payload bytes of one message. */
const maxPayload = 64 << 10;
/** Bytes behind the payload of each binary message: the sender's position behind it. */
const trailerSize = 8;
/** Bytes of a piece into which small writes are gathered: kept one by one they would take many times their length. */
const pieceSize = 4 << 10;

/** A position or a limit as it may be in a message. */
export const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/**
 * @param {Uint8Array} bytes a binary message
 * @returns {{payload: Uint8Array, position: number}} views; position is NaN if there is no trailer
 */
export function splitTrailer(bytes) {
  const length = bytes.length - trailerSize;
  if (length < 0) return { payload: bytes, position: NaN };
  const view = new DataView(bytes.buffer, bytes.byteOffset + length, trailerSize);
  return { payload: bytes.subarray(0, length), position: view.getUint32(0) * 2 ** 32 + view.getUint32(4) };
}

/** A part of what is kept, with room for its trailer. Text has none. */
class Piece {
  start;
  end;
  #data;

  constructor(start, data, size, count) {
    this.start = start;
    this.end = start + count;
    if (typeof data === "string") {
      this.#data = data;
      return;
    }
    this.#data = new Uint8Array(size + trailerSize);
    this.#data.set(data); // the page may use its own again
  }

  /** Bytes that it takes beside those that it has, if positions count bytes. */
  get room() {
    return this.#data.length - trailerSize - (this.end - this.start);
  }

  append(data) {
    this.#data.set(data, this.end - this.start);
    this.end += data.length;
  }

  /** Its message from an offset on; valid until the next append. */
  message(offset, length = this.#data.length - trailerSize) {
    if (typeof this.#data === "string") return this.#data;
    const view = new DataView(this.#data.buffer, length, trailerSize);
    view.setUint32(0, this.end / 2 ** 32);
    view.setUint32(4, this.end % 2 ** 32);
    return this.#data.subarray(offset, length + trailerSize);
  }
}

/** What goes to the other side. */
export class Sender {
  /** Behind the last one kept. */
  position = 0;
  /** Up to where the other side has passed everything on. */
  acknowledged = 0;
  /** Up to where it has been given to a WebSocket, to any. */
  sent = 0;

  #unit;
  #limit; // up to where it may be sent
  #pieces = []; // not acknowledged, oldest first
  #next = 0; // from where on nothing was given to this WebSocket
  #index = 0; // of the piece with #next

  /** @param {typeof units.bytes} unit */
  constructor(unit) {
    this.#unit = unit;
    this.#limit = unit.first;
  }

  /** How much more may be sent. */
  get space() {
    return this.#limit - this.position;
  }

  /** Whether something is kept that was not given to this WebSocket. */
  get isPending() {
    return this.#index < this.#pieces.length;
  }

  /** @param {string | Uint8Array} data is copied; text counts as one message */
  keep(data) {
    if (this.#unit === units.messages) {
      this.#push(new Piece(this.position, data, data.length, 1));
      return;
    }
    const last = this.#pieces.at(-1);
    if (data.length <= last?.room) {
      last.append(data);
      this.position = last.end;
      this.#index = Math.min(this.#index, this.#pieces.length - 1);
      return;
    }
    for (let rest = data; rest.length > 0; rest = rest.subarray(maxPayload)) {
      const part = rest.subarray(0, maxPayload);
      this.#push(new Piece(this.position, part, Math.max(part.length, pieceSize), part.length));
    }
  }

  #push(piece) {
    this.#pieces.push(piece);
    this.position = piece.end;
  }

  /**
   * The next message for this WebSocket.
   *
   * @returns {string | Uint8Array | undefined} a view; undefined if there is none that may be sent
   */
  next() {
    const piece = this.#pieces[this.#index];
    if (piece === undefined || piece.end > this.#limit) return undefined;
    const offset = this.#next - piece.start;
    this.#next = piece.end;
    this.#index++;
    this.sent = Math.max(this.sent, piece.end);
    return this.#unit === units.bytes ? piece.message(offset, piece.end - piece.start) : piece.message(0);
  }

  /** @returns {boolean} false for an acknowledgement of what was never sent */
  acked(position, limit) {
    if (position > this.sent) return false;
    this.#limit = Math.max(this.#limit, limit);
    this.acknowledged = Math.max(this.acknowledged, position);
    let count = 0;
    while (this.#pieces[count]?.end <= this.acknowledged) count++;
    this.#pieces.splice(0, count);
    this.#index = Math.max(this.#index - count, 0);
    this.#next = Math.max(this.#next, this.acknowledged);
    return true;
  }

  /**
   * Goes on from the other side's position, on another WebSocket.
   *
   * @returns {boolean} false for one that was never sent, or is no longer kept
   */
  rewind(position) {
    if (position < this.acknowledged || position > this.sent) return false;
    this.#next = position;
    const index = this.#pieces.findIndex(({ end }) => end > position);
    this.#index = index < 0 ? this.#pieces.length : index;
    return true;
  }

  /** Gives up what is kept. */
  drop() {
    this.#pieces = [];
    this.#index = 0;
  }
}

/** What comes from the other side. */
export class Receiver {
  /** Behind the last that has come. */
  position = 0;

  #unit;
  #window; // how much may have come that was not passed on
  #passed = 0;
  #told = 0; // of #passed, by the last acknowledgement
  #limit; // told

  /**
   * @param {typeof units.bytes} unit
   * @param {number} window at least the unit's `first`, which the other side takes for granted
   */
  constructor(unit, window) {
    this.#unit = unit;
    this.#window = Math.max(window, unit.first);
    this.#limit = unit.first;
  }

  /** @returns {boolean} false if the other side may not have sent it */
  came(count) {
    this.position += count;
    return this.position <= this.#limit;
  }

  /** @param {number} waiting how much of what has come is not passed on */
  passedAllBut(waiting) {
    this.#passed = this.position - waiting;
  }

  /** Something was passed on that no acknowledgement has told. */
  get isWaiting() {
    return this.#passed > this.#told;
  }

  /** So much was passed on that it is to be told now. */
  get isDue() {
    return this.#passed - this.#told >= Math.min(this.#window / 4, this.#unit.step);
  }

  /** What an acknowledgement says now. */
  ack() {
    this.#told = this.#passed;
    this.#limit = Math.max(this.#limit, this.#passed + this.#window);
    return { type: "ack", [this.#unit.name]: this.#told, limit: this.#limit };
  }
}
