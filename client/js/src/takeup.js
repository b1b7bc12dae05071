import { backOff, wait } from "./backoff.js";
import { currentToken, newSocket } from "./socket.js";

/** Milliseconds before the first attempt, at most, and before later ones. */
const firstPause = 100;
const pauses = { firstDelay: 400, maxDelay: 15_000 };
/** Milliseconds that an attempt may take at first, and at most: a network that is bad may need more. */
const shortest = 5000;
const longest = 30_000;
/** An attempt that is younger, in milliseconds, goes on when the network has changed. */
const young = 1000;
/** How long a WebSocket must have lived, in milliseconds, for its loss to be a new one even if nothing had come. */
const settledAfter = 10_000;
/** With these the server says that there is nothing to take up any more. */
const overCodes = new Set([4404, 4409]);

/** Has no part in a WebSocket any more. The server takes 4000 for one that was lost. */
export function abandon(socket) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.onerror = () => {}; // the package ws throws what nobody hears
  socket.close(4000);
}

/** The attempts to take one session up, each time that its WebSocket was lost. */
export class TakeUp {
  #options;
  #number = 0; // of the last attempt; the server takes none that is not above it
  #failed = 0; // in a row
  #takenAt = Infinity;
  #hurry = () => {}; // ends the pause
  #attempt; // {start, stop: AbortController} of the one under way

  /**
   * @param {object} options
   * @param {URL} options.address of the endpoint
   * @param {string | (() => string | Promise<string>)} [options.token] of the user
   * @param {string} options.session the token of the session
   * @param {() => object} options.position as the query says it
   * @param {(socket: WebSocket, data: unknown) => boolean} options.taken gets a WebSocket with its first message, and says whether it has taken it
   */
  constructor(options) {
    this.#options = options;
  }

  /** Something has arrived, either way: the next loss is a new one. */
  progressed() {
    this.#failed = 0;
  }

  /** The browser has news: tries now. @param {boolean} isMoved the network is another one */
  hurry(isMoved) {
    this.#hurry();
    if (isMoved && Date.now() - this.#attempt?.start > young) this.#attempt.stop.abort();
  }

  /**
   * Tries until the session is taken up, is over, or no time is left after an attempt.
   *
   * @param {number} spread milliseconds over which the server wants its clients to come back
   * @param {() => number} left milliseconds
   * @param {AbortSignal} signal
   * @returns {Promise<{code: number, reason: string} | undefined>} the end of the session, unless it was taken up
   */
  async run(spread, left, signal) {
    if (Date.now() - this.#takenAt > settledAfter) this.#failed = 0;
    await this.#pause(Math.random() * spread, signal);
    for (;;) {
      const pause = this.#failed === 0 ? Math.random() * firstPause : backOff(pauses, this.#failed - 1);
      await this.#pause(Math.min(pause, left()), signal);
      this.#failed++;
      const end = await this.#try(signal);
      if (end === undefined) this.#takenAt = Date.now();
      if (end === undefined || overCodes.has(end.code)) return end;
      if (left() <= 0) return { code: 1006, reason: "resume_timeout" };
    }
  }

  #pause(milliseconds, signal) {
    return wait(milliseconds, signal, (hurry) => { this.#hurry = hurry; });
  }

  /** @returns {Promise<{code: number, reason: string} | undefined>} how it failed, if it did */
  async #try(signal) {
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener("abort", abort);
    let timer;
    try {
      // Its time is its own: it may have to ask the user.
      const bearer = await currentToken(this.#options.token, signal);
      timer = setTimeout(abort, Math.min(shortest * 2 ** (this.#failed - 1), longest));
      this.#attempt = { start: Date.now(), stop };
      return await this.#connect(bearer, stop.signal);
    } catch {
      return { code: 1006, reason: "" }; // the token may be had the next time
    } finally {
      this.#attempt = undefined;
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      signal.throwIfAborted();
    }
  }

  #connect(bearer, signal) {
    const { session, position, taken } = this.#options;
    const address = new URL(this.#options.address);
    address.search = new URLSearchParams({ ...position(), attempt: ++this.#number });
    const socket = newSocket(address, ["wsproxy.resume", `resume.${session}`], bearer);
    return new Promise((resolve) => {
      const failed = { code: 1006, reason: "" };
      const giveUp = () => {
        abandon(socket);
        resolve(failed);
      };
      signal.addEventListener("abort", giveUp);
      socket.onclose = ({ code, reason }) => resolve({ code, reason });
      socket.onerror = () => resolve(failed); // in Node's own WebSocket no close follows if it never opened
      socket.onmessage = ({ data }) => {
        signal.removeEventListener("abort", giveUp);
        if (taken(socket, data)) resolve();
        else giveUp();
      };
    });
  }
}
