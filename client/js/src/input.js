import { ByteBuffer } from "./bytes.js";
import { headEnd, parseRequest } from "./head.js";

/** What comes on a connection, for whom it doesn't come in the pieces that it needs. */
export class Input {
  #reader;
  #rest = new Uint8Array();

  /** @param {ReadableStream<Uint8Array>} readable */
  constructor(readable) {
    this.#reader = readable.getReader();
  }

  /** @returns {Promise<Uint8Array | undefined>} what has come, not empty; undefined after the end */
  async read() {
    if (this.#rest.length > 0) {
      const bytes = this.#rest;
      this.#rest = new Uint8Array();
      return bytes;
    }
    return (await this.#reader.read()).value;
  }

  /** @param {Uint8Array} bytes what was read and belongs to what comes next */
  unread(bytes) {
    this.#rest = bytes;
  }

  /** The head of a request; undefined if the connection has ended instead. */
  async head() {
    const buffer = new ByteBuffer();
    for (;;) {
      const bytes = await this.read();
      if (bytes === undefined) return undefined; // the proxy ends idle connections so, and sends no half heads
      const looked = buffer.length;
      buffer.append(bytes);
      const end = headEnd(buffer.bytes, looked);
      if (end < 0) continue;
      this.unread(bytes.subarray(end - looked));
      return parseRequest(buffer.bytes.subarray(0, end));
    }
  }
}
