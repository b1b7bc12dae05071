// Serves the files of the tests' page as the server serves those of the real one.
import { readFile } from "node:fs/promises";
import http from "node:http";
import { extname, join } from "node:path";

const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self' ws: wss: http:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** @returns {Promise<{url: string, close: () => void}>} */
export async function servePages(directory) {
  const listener = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    const name = pathname === "/" ? "index.html" : pathname.slice(1);
    try {
      const bytes = await readFile(join(directory, name));
      response.writeHead(200, { "Content-Type": types[extname(name)], "Content-Security-Policy": policy }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${listener.address().port}/`,
    close: () => {
      listener.close();
      listener.closeAllConnections();
    },
  };
}
