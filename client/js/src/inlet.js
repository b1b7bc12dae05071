/** Bytes of a block into which small messages are gathered while they wait. */
const blockSize = 16 << 10;

/**
 * The receiving side of a connection: a readable stream and what waits for its
 * reader. A page can't pause a WebSocket, so what comes must be kept; the owner
 * bounds it by `waiting`. Small messages are copied into blocks: as chunks of
 * their own they would take many times the memory of their bytes.
 */
export class Inlet {
  /** @type {ReadableStream<Uint8Array>} */
  readable;
  /** Bytes that have come and that the page has not read. */
  waiting = 0;

  #controller;
  #taken;
  #isWanted = false; // a read is pending
  #blocks = []; // what waits
  #spare = 0; // bytes of the last block that are free
  #ended = false;

  /** @param {{taken?: () => void, cancelled: () => void}} owner is told when the page has read, and when it cancels */
  constructor({ taken = () => {}, cancelled }) {
    this.#taken = taken;
    this.readable = new ReadableStream({
      start: (controller) => { this.#controller = controller; },
      pull: () => {
        this.#isWanted = true;
        this.#give();
      },
      cancel: () => {
        this.#drop();
        cancelled();
      },
    }, { highWaterMark: 0 }); // what waits, waits here
  }

  /** @param {Uint8Array} bytes dropped after the end */
  push(bytes) {
    if (this.#ended || bytes.length === 0) return;
    this.waiting += bytes.length;
    if (this.#isWanted) { // then nothing waits, and nothing needs to be copied
      this.#blocks.push(bytes);
      this.#give();
    } else {
      this.#keep(bytes);
    }
  }

  /** The reader gets what waits, and then the end. */
  close() {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#blocks.length === 0) this.#controller.close();
  }

  /** What waits is dropped. */
  error(error) {
    if (this.#ended && this.#blocks.length === 0) return;
    this.#drop();
    this.#controller.error(error);
  }

  #keep(bytes) {
    if (bytes.length <= this.#spare) {
      const block = this.#blocks.at(-1);
      block.set(bytes, block.length - this.#spare);
      this.#spare -= bytes.length;
      return;
    }
    this.#trim();
    if (bytes.length >= blockSize) {
      this.#blocks.push(bytes);
      return;
    }
    const block = new Uint8Array(blockSize);
    block.set(bytes);
    this.#blocks.push(block);
    this.#spare = blockSize - bytes.length;
  }

  /** The last block is full, as it is. */
  #trim() {
    if (this.#spare === 0) return;
    const block = this.#blocks.pop();
    this.#blocks.push(block.slice(0, block.length - this.#spare));
    this.#spare = 0;
  }

  #give() {
    if (this.#blocks.length === 0) return;
    if (this.#blocks.length === 1) this.#trim();
    const block = this.#blocks.shift();
    this.waiting -= block.length;
    this.#isWanted = false;
    this.#controller.enqueue(block);
    if (this.#ended && this.#blocks.length === 0) this.#controller.close();
    this.#taken();
  }

  #drop() {
    this.#ended = true;
    this.#blocks = [];
    this.#spare = 0;
    this.waiting = 0;
  }
}
