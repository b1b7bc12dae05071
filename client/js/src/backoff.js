/**
 * Milliseconds to wait before an attempt: twice as long each time, up to a
 * limit, and by chance up to a half less, so that the pages which lost one
 * server do not all come to the next at once.
 */
export function backOff({ firstDelay, maxDelay }, attempts) {
  const longest = Math.min(firstDelay * 2 ** attempts, maxDelay);
  return longest * (0.5 + Math.random() / 2);
}

/**
 * Over how many milliseconds the server, when it shuts down, wants its clients
 * to come back, so that its successor is not met by all at once; 0 for another
 * end.
 */
export function restartSpread({ code, reason }) {
  const [, seconds] = (code === 1001 && /^restart, retry within (\d{1,4}) s$/.exec(reason)) || [];
  return 1000 * (seconds ?? 0);
}

/**
 * Rejects with the signal's reason when it is aborted before.
 *
 * @param {(hurry: () => void) => void} [giveHurry] gets what ends it before its time
 */
export function wait(milliseconds, signal, giveHurry) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    giveHurry?.(done);
  });
}
