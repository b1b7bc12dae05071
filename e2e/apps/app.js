// An application of the usual kind: a login with a cookie, a WebSocket that needs it, a
// receiver of webhooks that checks their signature, and events. Prints its port.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const secret = process.argv[2];
const sessions = new Map();

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://app");
  switch (`${request.method} ${url.pathname}`) {
    case "POST /login": {
      const form = new URLSearchParams((await whole(request)).toString());
      const id = randomBytes(16).toString("hex");
      sessions.set(id, form.get("user"));
      response.setHeader("Set-Cookie", [`session=${id}; Path=/; HttpOnly; SameSite=Lax`, "theme=dark; Path=/"]);
      response.writeHead(303, { Location: "/me" }).end();
      return;
    }
    case "GET /me":
      response.writeHead(user(request) ? 200 : 401).end(user(request) ?? "who are you?");
      return;
    case "POST /webhook": {
      const body = await whole(request);
      const want = Buffer.from(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
      const got = Buffer.from(request.headers["x-hub-signature-256"] ?? "");
      const good = got.length === want.length && timingSafeEqual(got, want);
      response.writeHead(good ? 202 : 403).end(String(body.length));
      return;
    }
    case "GET /events": {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
      let n = 0;
      const timer = setInterval(() => response.write(`id: ${n++}\ndata: ${Date.now()}\n\n`), 100);
      request.on("close", () => clearInterval(timer));
      return;
    }
    default:
      response.writeHead(404).end("nothing here");
  }
});

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });
server.on("upgrade", (request, socket, head) => {
  if (!user(request)) {
    socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 12\r\n\r\nwho are you?");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    ws.send(`hello ${user(request)}`);
    ws.on("message", (data, binary) => (String(data) === "bye" ? ws.close(4321, "bye then") : ws.send(data, { binary })));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

function user(request) {
  return sessions.get(/(?:^|; )session=([0-9a-f]+)/.exec(request.headers.cookie ?? "")?.[1]);
}

async function whole(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}
