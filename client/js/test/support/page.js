// What the code in a page has at hand, beside the module itself. It runs in
// browsers and in Node.

/** What of an error can be sent to the test. */
export function told(error) {
  const { name, message, code, reason, status } = error ?? {};
  return { name, message, code, reason, status };
}

/** What a promise comes to. */
export function outcome(promise) {
  return promise.then((value) => ({ value }), (error) => ({ error: told(error) }));
}

export function randomBytes(length) {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 65_536) crypto.getRandomValues(bytes.subarray(i, Math.min(i + 65_536, length)));
  return bytes;
}

export async function readAll(readable) {
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

export async function readText(readable) {
  return new TextDecoder().decode(await readAll(readable));
}

export async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const encode = (text) => new TextEncoder().encode(text);

/** Waits until a condition of the page holds, for a minute at most. */
export async function until(condition) {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Writes everything in chunks of a size, and closes. */
export async function writeAll(writable, bytes, size) {
  const writer = writable.getWriter();
  for (let i = 0; i < bytes.length; i += size) await writer.write(bytes.subarray(i, i + size));
  await writer.close();
}

/** Has every WebSocket that is made from now on in an array, and calls made() for each. */
export function watchSockets(made = () => {}) {
  const sockets = [];
  const Plain = globalThis.WebSocket;
  globalThis.WebSocket = class extends Plain {
    constructor(...args) {
      super(...args);
      sockets.push(this);
      queueMicrotask(made);
    }
  };
  return { sockets, restore: () => { globalThis.WebSocket = Plain; } };
}
