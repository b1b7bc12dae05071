// Targets of relays, and the outside world of tunnels.
import http from "node:http";
import net from "node:net";
import { once } from "node:events";
import { inTime } from "./wait.js";

/**
 * Listens on a free port and calls serve(socket) for each connection. Sockets
 * stay writable after their peer has ended. All ends with the test.
 *
 * @returns {Promise<{host: string, port: number}>}
 */
export async function startTarget(t, serve) {
  const sockets = new Set();
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: "127.0.0.1", port: listener.address().port };
}

/** A target whose connections the test gets one by one, by next(), and does with as it likes. They are paused. */
export async function startHandTarget(t) {
  const arrived = [];
  let arrival = () => {};
  const target = await startTarget(t, (socket) => {
    arrived.push(socket.pause());
    arrival();
  });
  const next = async () => {
    while (arrived.length === 0) await inTime("a connection", new Promise((resolve) => { arrival = resolve; }));
    return arrived.shift();
  };
  return { ...target, next };
}

/** A port where nobody listens. */
export async function closedPort() {
  const listener = net.createServer();
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return { host: "127.0.0.1", port };
}

/** Connects to a tunnel's raw port from outside. It is closed with the test. */
export async function connectOutside(t, port) {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  t.after(() => socket.destroy());
  await inTime("a connection to the raw port", once(socket, "connect"));
  socket.on("error", () => {});
  return socket;
}

/** Everything that a socket sends until it ends. Rejects if it is reset. */
export function readAll(socket) {
  return inTime("the end of a connection", (async () => {
    const chunks = [];
    for await (const chunk of socket) chunks.push(chunk);
    return Buffer.concat(chunks);
  })());
}

/** Exactly so many bytes of a socket, which is paused afterwards. */
export async function readBytes(socket, length) {
  const chunks = [];
  for (let rest = length; rest > 0;) {
    const chunk = socket.read(Math.min(rest, socket.readableLength || 1));
    if (chunk === null) {
      await inTime(`${rest} more of ${length} bytes`, once(socket, "readable"));
      continue;
    }
    chunks.push(chunk);
    rest -= chunk.length;
  }
  return Buffer.concat(chunks);
}

/**
 * An HTTP request of the outside world to a tunnel, over a connection of its own.
 *
 * @param {{port: number}} server
 * @param {string} url of the tunnel
 * @returns {Promise<{status: number, headers: http.IncomingHttpHeaders, body: Buffer}>}
 */
export function ask(server, url, { method = "GET", path = "/", headers = {}, body } = {}) {
  const { hostname } = new URL(url);
  const answer = new Promise((resolve, reject) => {
    const request = http.request({
      host: "127.0.0.1", port: server.port, method, path, agent: false,
      headers: { Host: `${hostname}:${server.port}`, ...headers },
    });
    request.on("error", reject).on("response", (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk)).on("error", reject).on("end", () => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.end(body);
  });
  return inTime(`the answer to ${method} ${path}`, answer);
}
