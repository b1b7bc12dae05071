// A proxy in front of the server that notes every request line and header, and
// can make it one of before: it takes http=bytes away.
import http from "node:http";
import net from "node:net";

/** @returns {Promise<{url: string, requests: {method: string, url: string, headers: object}[]}>} */
export async function startRecorder(t, server, { isOld = false } = {}) {
  const requests = [];
  const sockets = new Set();
  const note = ({ method, url, headers }) => requests.push({ method, url, headers });
  const listener = http.createServer((request, response) => {
    note(request);
    const { method, url, headers } = request;
    http.request({ host: "127.0.0.1", port: server.port, method, path: url, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }).end();
  });
  listener.on("connection", (socket) => sockets.add(socket.on("close", () => sockets.delete(socket))));
  listener.on("upgrade", (request, socket, head) => {
    note(request);
    const onward = net.connect(server.port, "127.0.0.1");
    const path = isOld ? request.url.replace("&http=bytes", "") : request.url;
    const lines = [`${request.method} ${path} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    onward.write(`${lines.join("\r\n")}\r\n\r\n`);
    onward.write(head);
    onward.pipe(socket).pipe(onward);
    for (const side of [onward, socket]) {
      side.on("error", () => {}).on("close", () => {
        onward.destroy();
        socket.destroy();
      });
    }
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  return { url: `ws://127.0.0.1:${listener.address().port}`, requests };
}
