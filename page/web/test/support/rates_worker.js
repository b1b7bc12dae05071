// What test/bench/rates.js measures beside the page. It is in a shared worker, as the page's own relay is; and the test's
// own debugger would be told of each message of a page's WebSocket, but hears nothing of a shared worker's.
import { connectRelay } from "../../../../client/js/wsproxy.js";

/** Each moves `size` bytes, in messages of `piece`. */
const ways = {
  "plain echo": (args) => plain(args, "echo"),
  "plain up": (args) => plain(args, "up"),
  "plain down": (args) => plain(args, "down"),
  "relay echo": async ({ url, echo, size, piece }) => {
    const relay = await connectRelay({ url, ...echo });
    await Promise.all([fill(relay.writable, size, piece), empty(relay.readable, size)]);
  },
  "relay up": async ({ url, sink, size, piece }) => fill((await connectRelay({ url, ...sink })).writable, size, piece),
  "relay down": async ({ url, source, size }) => empty((await connectRelay({ url, ...source })).readable, size),
};

globalThis.onconnect = ({ ports: [port] }) => {
  port.onmessage = async ({ data: { way, args } }) => {
    port.postMessage(await ways[way](args).then(() => undefined, String));
  };
};

/** As many messages are under way as bytes of a relay. */
async function plain({ plain, size, piece }, way) {
  const socket = new WebSocket(`${plain}/${way}`), bytes = new Uint8Array(piece), all = size / piece;
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  let sent = 0, came = 0;
  await new Promise((done) => {
    const send = () => { for (; way !== "down" && sent < all && sent - came < 64; sent++) socket.send(bytes); };
    socket.onmessage = () => (++came === all ? done() : send());
    send();
  });
  socket.close();
}

async function fill(writable, size, piece) {
  const writer = writable.getWriter(), bytes = new Uint8Array(piece);
  for (let left = size; left > 0; left -= piece) await writer.write(bytes);
  await writer.close();
}

async function empty(readable, size) {
  let came = 0;
  for (const reader = readable.getReader();;) {
    const { done, value } = await reader.read();
    if (done) break;
    came += value.length;
  }
  if (came !== size) throw new Error(`${came} bytes came`);
}
