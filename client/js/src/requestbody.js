import { bodyReader } from "./body.js";
import { ByteBuffer } from "./bytes.js";
import { WsproxyError } from "./error.js";
import { BadMessage } from "./head.js";

/** After the answer so much of the body, in bytes, and for so long, in milliseconds, is waited for: more is on its way only for a client that goes on sending. */
const discardLimit = 256 << 10;
const discardTime = 5000;

/**
 * The body of a request, as a stream of what comes on its connection. It is
 * read only as the page reads.
 */
export class RequestBody {
  /** @type {ReadableStream<Uint8Array>} */
  stream;
  /** Whether there is none. */
  isEmpty;
  /** What is wrong with it, if something is. */
  fault;
  /** Called when it has come whole. */
  complete = () => {};

  #input;
  #body;
  #invite; // has the client send it, if the client waits for that
  #controller;
  #left; // resolves when the page has read it to its end, or wants no more
  #resolveLeft;
  #last = Promise.resolve();
  #isOver = false; // the stream is closed, cancelled or errored

  /**
   * @param {import("./input.js").Input} input
   * @param {number | "chunked"} length
   * @param {(() => Promise<void>) | undefined} invite
   */
  constructor(input, length, invite) {
    this.isEmpty = length === 0;
    this.#input = input;
    this.#body = bodyReader(length);
    this.#invite = invite;
    this.#left = new Promise((resolve) => { this.#resolveLeft = resolve; });
    this.stream = new ReadableStream({
      start: (controller) => { this.#controller = controller; },
      pull: () => this.#pull(),
      cancel: () => this.#leave(),
    }, { highWaterMark: 0 }); // what waits, waits in the connection, where it takes credit
    if (this.#body.done) this.#closeStream();
  }

  /** Whether it is known that no other request can be told from it. */
  get endsConnection() {
    return this.fault !== undefined || this.#invite !== undefined; // the client may send it or not
  }

  /** In the order in which they came; known at the end. */
  get trailers() {
    return this.#body.trailers;
  }

  /** Tells a client that waits for it to send the body. */
  async invite() {
    const invite = this.#invite;
    this.#invite = undefined;
    await invite?.();
  }

  /** All of it, for a Request that can't have it; undefined if it is longer than the limit. */
  async whole(limit) {
    const buffer = new ByteBuffer();
    await this.invite();
    while (!this.#body.done) {
      await this.#step((data) => { if (buffer.length <= limit) buffer.append(data); });
      if (buffer.length > limit) return undefined;
    }
    return buffer.bytes;
  }

  /**
   * Gets it out of the way of the next request, after the answer. Who reads it
   * still goes on for a while.
   *
   * @returns {Promise<boolean>} false if what comes next can't be told
   */
  async finish() {
    if (this.#body.done) return true;
    if (this.endsConnection) return false;
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, discardTime, false); });
    try {
      return await Promise.race([this.#discard(), late]);
    } catch (error) {
      if (!this.fault) throw error;
      return false; // the answer is whole, whatever the rest of the body is
    } finally {
      clearTimeout(timer);
      this.#controller.error(new WsproxyError("the request was answered before its body was read"));
    }
  }

  async #discard() {
    if (this.stream.locked) await this.#left;
    else this.#leave();
    let bytes = 0;
    while (!this.#body.done && bytes <= discardLimit) await this.#step((data) => { bytes += data.length; });
    return this.#body.done;
  }

  /** The connection is gone. */
  lost(error) {
    this.#fail(error);
  }

  async #pull() {
    try {
      await this.invite();
      let came = false;
      while (!came && !this.#body.done) {
        await this.#step((data) => {
          came = true;
          if (!this.#isOver) this.#controller.enqueue(data);
        });
      }
      if (this.#body.done) this.#closeStream();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** One after the other: the page may have cancelled the stream while it was read. */
  #step(emit) {
    const step = this.#last.then(() => this.#take(emit));
    this.#last = step.catch(() => {});
    return step;
  }

  async #take(emit) {
    if (this.#body.done) return;
    const bytes = await this.#input.read();
    if (bytes === undefined) throw new WsproxyError("the connection ended within a request");
    try {
      this.#input.unread(bytes.subarray(this.#body.push(bytes, emit)));
    } catch (error) {
      if (error instanceof BadMessage) this.fault = error;
      throw error;
    }
    if (this.#body.done) this.complete();
  }

  #closeStream() {
    if (this.#isOver) return;
    this.#controller.close();
    this.#leave();
  }

  #fail(error) {
    if (this.#isOver) return;
    this.#controller.error(error);
    this.#leave();
  }

  #leave() {
    this.#isOver = true;
    this.#resolveLeft();
  }
}
