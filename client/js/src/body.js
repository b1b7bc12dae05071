import { BadMessage, byteString, maxFields, maxHead, parseField } from "./head.js";

/** Longest line of a chunked body's framing, with its extensions, which mean nothing here, or of a trailer. */
const maxLine = 16 << 10;

const LF = 10;

/**
 * Takes the bytes of a request's body out of what comes. Nothing here waits.
 *
 * @param {number | "chunked"} length
 */
export const bodyReader = (length) => length === "chunked" ? new ChunkedBody() : new KnownBody(length);

class KnownBody {
  trailers = [];
  #left;

  constructor(length) {
    this.#left = length;
  }

  get done() {
    return this.#left === 0;
  }

  /**
   * @param {Uint8Array} bytes
   * @param {(data: Uint8Array) => void} emit is given views, none of them empty
   * @returns {number} how many bytes belong to the body
   */
  push(bytes, emit) {
    const data = bytes.subarray(0, this.#left);
    this.#left -= data.length;
    if (data.length > 0) emit(data);
    return data.length;
  }
}

/** RFC 9112, 7.1, strictly. */
class ChunkedBody {
  done = false;
  /** @type {import("./head.js").Fields} */
  trailers = [];

  #left = 0; // bytes of this chunk
  #line = ""; // what has come of a line
  #take = this.#size; // what the next line is
  #trailerBytes = 0;

  /** As KnownBody's. */
  push(bytes, emit) {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.#left > 0) {
        const data = bytes.subarray(at, at + this.#left);
        this.#left -= data.length;
        at += data.length;
        emit(data);
      } else {
        at = this.#readLine(bytes, at);
      }
    }
    return at;
  }

  #readLine(bytes, at) {
    const found = bytes.indexOf(LF, at);
    const end = found < 0 ? bytes.length : found + 1;
    if (this.#line.length + end - at > maxLine) throw new BadMessage("A line of the body is too long.");
    this.#line += byteString(bytes.subarray(at, end));
    if (found >= 0) {
      if (!this.#line.endsWith("\r\n")) throw new BadMessage("A line of the body does not end with CR LF.");
      const line = this.#line.slice(0, -2);
      this.#line = "";
      this.#take(line);
    }
    return end;
  }

  #size(line) {
    // 13 digits are less than 2^53.
    const [, digits] = /^([0-9a-f]{1,13})(?:;[\t\x20-\x7e\x80-\xff]*)?$/i.exec(line) ?? [];
    if (!digits) throw new BadMessage("The size of a chunk can't be read.");
    this.#left = parseInt(digits, 16);
    this.#take = this.#left > 0 ? this.#chunkEnd : this.#trailer;
  }

  #chunkEnd(line) {
    if (line !== "") throw new BadMessage("A chunk is longer than its size.");
    this.#take = this.#size;
  }

  #trailer(line) {
    if (line === "") {
      this.done = true;
      return;
    }
    this.#trailerBytes += line.length;
    if (this.trailers.length === maxFields || this.#trailerBytes > maxHead) throw new BadMessage("There are too many trailers.");
    this.trailers.push(parseField(line));
  }
}

/** The last chunk, without the trailers behind it. */
export const lastChunk = "0\r\n";

/** @param {Uint8Array} data not empty: an empty chunk is the last one */
export function encodeChunk(data) {
  const size = `${data.length.toString(16)}\r\n`;
  const chunk = new Uint8Array(size.length + data.length + 2);
  for (let i = 0; i < size.length; i++) chunk[i] = size.charCodeAt(i);
  chunk.set(data, size.length);
  chunk.set([13, 10], size.length + data.length);
  return chunk;
}
