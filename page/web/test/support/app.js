// The page as it is shipped, at a real server, for tests of its looks.
import { readFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../build.mjs";

const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; font-src 'self'; worker-src 'self'; manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Builds the page; `remove` takes it away again. */
export async function buildApp() {
  const parent = mkdtempSync(join(tmpdir(), "wsproxy-app-"));
  const { directory, files } = await build({ directory: join(parent, "dist"), quick: true });
  return { directory, files, remove: () => rmSync(parent, { recursive: true, force: true }) };
}

/**
 * Serves the page with the policy of the real server, and leads WebSockets to
 * it. `cut` is a network that is gone, `mend` brings it back,
 * and `delay` makes it slow.
 *
 * @param {{port: number}} server
 */
export async function serveApp({ directory, files }, server, settings = {}) {
  let isCut = false, delay = 0;
  const lines = new Set();
  const upgrades = [];
  const listener = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    if (pathname === "/web-terminal.json") {
      response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" })
        .end(JSON.stringify({ auth: false, version: "test", ancestors: [], tunnels: true, tunnelNames: false, ...settings }));
      return;
    }
    const name = pathname === "/" ? "index.html" : pathname.slice(1);
    if (!files[name]) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": files[name].type, "Content-Security-Policy": policy.replace("frame-ancestors 'none'", `frame-ancestors ${settings.ancestors?.join(" ") || "'none'"}`) }).end(await readFile(join(directory, name)));
  });
  listener.on("upgrade", (request, socket, head) => {
    if (isCut) return socket.destroy();
    upgrades.push({ url: request.url, protocols: request.headers["sec-websocket-protocol"] ?? "" });
    const far = net.connect(server.port, "127.0.0.1", () => {
      const headers = [];
      for (let i = 0; i < request.rawHeaders.length; i += 2) {
        const name = request.rawHeaders[i];
        const value = /^(host|origin)$/i.test(name) ? request.rawHeaders[i + 1].replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${server.port}`) : request.rawHeaders[i + 1];
        headers.push(`${name}: ${value}`);
      }
      far.write(`${request.method} ${request.url} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
      far.write(head);
      late(far, socket, () => delay);
      late(socket, far, () => delay);
    });
    lines.add(socket);
    for (const end of [far, socket]) {
      end.on("error", () => {});
      end.on("close", () => {
        lines.delete(socket);
        far.destroy();
        socket.destroy();
      });
    }
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    /** The WebSockets that were asked for. */
    upgrades,
    url: `http://127.0.0.1:${listener.address().port}/`,
    cut() {
      isCut = true;
      for (const line of lines) line.destroy();
    },
    mend() {
      isCut = false;
    },
    /** How many milliseconds each way takes from now on. */
    delay(ms) {
      delay = ms / 2;
    },
    close() {
      listener.close();
      listener.closeAllConnections();
      for (const line of lines) line.destroy();
    },
  };
}

/** Passes bytes on after a while, in order. */
function late(from, to, delay) {
  from.on("data", (bytes) => delay() ? setTimeout(() => to.write(bytes), delay()) : to.write(bytes));
  from.on("end", () => setTimeout(() => to.end(), delay()));
}
