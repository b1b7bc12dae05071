/**
 * Milliseconds that anything may take which has no time of its own. Long,
 * because the machine may be busy; a test that passes never waits for it.
 */
export const patience = 60_000;

/** Waits until a condition holds; what says which, if it doesn't in time. */
export async function eventually(what, condition) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A promise that must not take longer than patience. */
export function inTime(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
