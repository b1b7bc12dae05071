// HTTP of the outside world through the real server, streamed both ways, and
// WebSockets. What the module does on its connections is in stream.test.js.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { test } from "node:test";
import { WebSocket } from "ws";
import { ask } from "./support/peers.js";
import { inBrowser, openPage } from "./support/place.js";
import { readAll } from "./support/proxy.js";
import { startServer } from "./support/server.js";
import { inTime } from "./support/wait.js";

const MiB = 1 << 20;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function setUp(t, callbacks, env) {
  const [server, page] = await Promise.all([startServer(t, env), openPage(t)]);
  const url = await page.run(async (page, { url, callbacks }) => {
    const { state } = page;
    state.errors = [];
    state.tunnel = await page.openTunnel({
      url,
      onError: (error) => state.errors.push(page.told(error)),
      ...new Function("page", "state", `return ${callbacks}`)(page, state),
    });
    return state.tunnel.url;
  }, { url: server.ws, callbacks });
  const host = `${new URL(url).hostname}:${server.port}`;
  const request = (options) => http.request({ host: "127.0.0.1", port: server.port, headers: { Host: host, ...options.headers }, agent: false, ...options });
  const errors = () => page.run(({ state }) => state.errors);
  return { server, page, url, host, request, errors, outside: (options) => ask(server, url, options) };
}

const echo = "{ onRequest: (request) => new Response(request.body, { status: 201 }) }";

test("bodies that are larger than the server keeps come back while they are sent", async (t) => {
  const { outside, errors } = await setUp(t, echo);
  for (const body of [Buffer.alloc(0), Buffer.from("small"), randomBytes(30 * MiB)]) {
    const answer = await outside({ method: "POST", body });
    assert.equal(answer.status, 201);
    assert.equal(digest(answer.body), digest(body));
  }
  assert.equal((await outside({ method: "HEAD" })).status, 201);
  assert.equal((await outside({ method: "POST", body: "x", headers: { Expect: "100-continue" } })).body.length, 1);
  assert.deepEqual(await errors(), []);
});

test("events arrive as they are written, and the page is told when their client goes", async (t) => {
  const { page, request } = await setUp(t, `{ onRequest: (request) => new Response(new ReadableStream({
    start(controller) { state.say = (text) => controller.enqueue(page.encode("data: " + text + "\\n\\n")); },
    cancel() { state.cancelled = true; },
  }), { headers: { "Content-Type": "text/event-stream" } }) }`);
  const asked = request({}).end();
  const response = await inTime("the head", new Promise((resolve) => asked.on("response", resolve).on("error", () => {})));
  const events = response[Symbol.asyncIterator]();
  for (const word of ["one", "two"]) {
    await page.run(({ state }, word) => state.say(word), word);
    assert.equal(String((await inTime("an event", events.next())).value), `data: ${word}\n\n`);
  }
  asked.destroy();
  await page.run(({ state, until }) => until(() => state.cancelled));
});

test("an answer that breaks off is cut outside too", async (t) => {
  const { page, request, outside } = await setUp(t, `{ onRequest: (request) => new Response(new ReadableStream({
    start(controller) {
      controller.enqueue(page.encode("some"));
      if (request.url.endsWith("/breaks")) state.breakOff = () => controller.error(new Error("broken"));
      else controller.close();
    },
  })) }`);
  const response = await inTime("the head", new Promise((resolve) => request({ path: "/breaks" }).on("response", resolve).on("error", () => {}).end()));
  await page.run(({ state }) => state.breakOff());
  await assert.rejects(readAll(response));
  assert.equal(String((await outside({ path: "/whole" })).body), "some");
});

test("a WebSocket of the outside world, with much in both directions", async (t) => {
  const { server, host, errors } = await setUp(t, `{ onWebSocket: (socket) => {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket.send(data);
  } }`);
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/x`, ["chat"], { headers: { Host: host } });
  t.after(() => socket.terminate());
  await inTime("the handshake", new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)));
  assert.equal(socket.protocol, "chat");
  const message = randomBytes(MiB);
  let came = 0;
  const all = new Promise((resolve) => socket.on("message", (data) => {
    assert.equal(digest(data), digest(message));
    if (++came === 20) resolve();
  }));
  for (let i = 0; i < 20; i++) socket.send(message);
  await inTime("the echo", all);
  const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
  socket.close(4001, "done");
  assert.deepEqual(await inTime("the end", closed), [4001, "done"]);
  assert.deepEqual(await errors(), []);
});

if (inBrowser) {
  test("a browser is the outside client: fetch, EventSource and WebSocket", async (t) => {
    const { host, errors } = await setUp(t, `{
      onRequest: async (request) => {
        const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": request.url.endsWith("/events") ? "text/event-stream" : "text/plain" };
        if (request.url.endsWith("/events")) {
          return new Response(new ReadableStream({ start(controller) { controller.enqueue(page.encode("data: one\\n\\ndata: two\\n\\n")); } }), { headers });
        }
        return new Response(request.method + await request.text(), { headers });
      },
      onWebSocket: (socket) => {
        socket.accept("second");
        socket.onmessage = ({ data }) => socket.send(data);
      },
    }`);
    const outside = await openPage(t);
    const got = await outside.run(async (page, url) => {
      const texts = [];
      for (let i = 0; i < 3; i++) texts.push(await (await fetch(url, { method: "POST", body: `body ${i}` })).text());
      const source = new EventSource(`${url}/events`);
      const events = await new Promise((resolve) => {
        const list = [];
        source.onmessage = ({ data }) => list.push(data) === 2 && resolve(list);
      });
      source.close();
      const socket = new WebSocket(url.replace("http", "ws"), ["first", "second"]);
      socket.binaryType = "arraybuffer";
      await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
      const echo = (data) => new Promise((resolve) => {
        socket.onmessage = (event) => resolve(event.data);
        socket.send(data);
      });
      const text = await echo("h\u00e9".repeat(100_000));
      const bytes = page.randomBytes(2_000_000);
      const isSame = await page.sha256(bytes) === await page.sha256(await echo(bytes));
      const closed = new Promise((resolve) => { socket.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean]); });
      socket.close(3000, "done");
      return { texts, events, protocol: socket.protocol, length: text.length, isSame, closed: await closed };
    }, `http://${host}`);
    assert.deepEqual(got, {
      texts: ["POSTbody 0", "POSTbody 1", "POSTbody 2"], events: ["one", "two"], protocol: "second", length: 200_000, isSame: true,
      closed: [3000, "done", true],
    });
    assert.deepEqual(await errors(), []);
  });
}
