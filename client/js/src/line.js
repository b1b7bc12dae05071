import { backOff, wait } from "./backoff.js";
import { closeError } from "./error.js";
import { Outlet } from "./outlet.js";
import { untilAborted } from "./request.js";
import { finalCodes, Resumable } from "./resumable.js";
import { openSocket } from "./socket.js";

/** How often a session is begun whose WebSocket is lost before it has begun, and milliseconds between. */
const mostBeginnings = 5;
const pauses = { firstDelay: 200, maxDelay: 2000 };

/**
 * Opens a session on an endpoint of the server: one that outlives its
 * WebSocket, if the server knows that and `resume` is not false, else a plain
 * one.
 *
 * From `opened(line)` on the receiver gets each message by `received(data)`: a
 * Uint8Array, or what the server has sent as JSON, which is a string in a plain
 * session. `peerEnded()` says that nothing more comes, `ended({code, reason,
 * error})` that the session is over. They are called directly and not by a
 * promise, so that nothing is missed in between.
 *
 * @param {URL} address
 * @param {object} options resume, token, signal, and those of Resumable
 * @param {typeof import("./replay.js").units.bytes} unit what positions count
 * @param {object} receiver
 * @returns {Promise<void>} rejects with a WsproxyError, or with the signal's reason
 */
export async function openLine(address, options, unit, receiver) {
  const { signal = new AbortController().signal, resume = true } = options;
  const protocols = resume ? ["wsproxy.v1", "wsproxy.resume"] : ["wsproxy.v1"];
  for (let attempts = 0; ; attempts++) {
    const opening = new Opening({ ...options, address }, unit, receiver);
    await openSocket(address, { ...options, protocols }, opening);
    const end = await opening.begun(signal);
    if (end === undefined) return;
    if (end.error || finalCodes.has(end.code) || attempts === mostBeginnings) throw end.error ?? closeError(end);
    await wait(backOff(pauses, attempts), signal);
  }
}

/** A WebSocket of which it is not known yet what the server makes of it. */
class Opening {
  #options;
  #unit;
  #receiver;
  #resumable;

  constructor(options, unit, receiver) {
    this.#options = options;
    this.#unit = unit;
    this.#receiver = receiver;
  }

  opened(socket) {
    if (socket.protocol !== "wsproxy.resume") {
      this.#receiver.opened(new Outlet(socket));
      return;
    }
    this.#resumable = new Resumable(this.#options, this.#unit, this.#receiver);
    this.#resumable.attach(socket);
  }

  received(data) {
    this.#receiver.received(typeof data === "string" ? data : new Uint8Array(data));
  }

  ended(end) {
    this.#receiver.ended(end);
  }

  /** Resolves when it can be used, or to how it ended before. */
  async begun(signal) {
    try {
      return await untilAborted(this.#resumable?.begun, signal);
    } catch (reason) {
      this.#resumable?.abort();
      throw reason;
    }
  }
}
