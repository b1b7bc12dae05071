/** The longest delay that a timer takes, in milliseconds; a longer one would fire at once. */
const longestDelay = 2 ** 31 - 1;

/**
 * Bounds one HTTP request in time. Its signal is aborted when an answer is of
 * no use any more: after the time-out, or when the tunnel has ended.
 */
export class Deadline {
  #controller = new AbortController();
  #timer;

  /** @param {number} timeout milliseconds */
  constructor(timeout) {
    const expire = () => this.abort(new DOMException(`no answer within requestTimeout, ${timeout} ms`, "TimeoutError"));
    this.#timer = setTimeout(expire, Math.min(timeout, longestDelay));
  }

  get signal() {
    return this.#controller.signal;
  }

  abort(reason) {
    this.clear();
    this.#controller.abort(reason);
  }

  /** The request has been answered. */
  clear() {
    clearTimeout(this.#timer);
  }
}

/**
 * A promise that also rejects, with the signal's reason, when the signal is
 * aborted. What the promise comes to after that is dropped.
 *
 * @template T
 * @param {T | Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export function untilAborted(promise, signal) {
  if (!signal) return Promise.resolve(promise);
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    Promise.resolve(promise).then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
