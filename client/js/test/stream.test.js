// HTTP over connections, as a server with http=bytes brings it, to Node's own
// HTTP client and to bytes that no client would send.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { test } from "node:test";
import { openToProxy as setUp, readAll, window } from "./support/proxy.js";
import { eventually, inTime } from "./support/wait.js";

const MiB = 1 << 20;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

const echo = `{ onRequest: (request, info) => new Response(request.body, { status: 201, headers: {
  "X-About": JSON.stringify([info.method, info.path, request.url, info.remoteAddr, request.headers.get("X-Twice")]),
} }) }`;

test("requests of every shape, one after the other over one connection", async (t) => {
  const { proxy, errors } = await setUp(t, echo);
  assert.equal(proxy.query.get("http"), "bytes");
  let connections = 0;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = () => {
    connections++;
    return proxy.open();
  };
  t.after(() => agent.destroy());
  for (const [method, body, headers = {}] of [
    ["GET"], ["HEAD"], ["DELETE"], ["POST", ""], ["POST", "h\u00e9llo"], ["PATCH", "x"],
    ["POST", randomBytes(3 * MiB)], ["PUT", randomBytes(100_000), { "Transfer-Encoding": "chunked" }],
    ["POST", randomBytes(1000), { Expect: "100-continue" }],
  ]) {
    const answer = await proxy.ask({
      agent, method, body, path: "/a%20b?c", headers: { "X-Twice": ["1", "2"], "X-Forwarded-For": "192.0.2.7", ...headers },
    });
    assert.equal(answer.status, 201);
    assert.equal(digest(answer.body), digest(body ?? ""), `${method} of ${body?.length}`);
    assert.deepEqual(JSON.parse(answer.headers["x-about"]),
      [method, "/a%20b?c", "http://t.example.com/a%20b?c", "192.0.2.7", "1, 2"]);
    assert.equal(answer.headers["transfer-encoding"], body?.length > 0 || method === "HEAD" ? "chunked" : undefined);
  }
  assert.equal(connections, 1);
  assert.deepEqual(await errors(), []);
});

test("an answer that never ends arrives as it is written, until its client goes", async (t) => {
  const { proxy, page, noted } = await setUp(t, `{ onRequest: (request, { signal }) => {
    request.signal.addEventListener("abort", () => { state.requestAborted = page.told(request.signal.reason); });
    signal.addEventListener("abort", () => { state.aborted = true; });
    return new Response(new ReadableStream({
      start(controller) { state.say = (text) => controller.enqueue(page.encode("data: " + text + "\\n\\n")); },
      cancel(reason) { state.cancelled = page.told(reason); },
    }), { headers: { "Content-Type": "text/event-stream" } });
  } }`);
  const response = await proxy.request();
  assert.equal(response.headers["content-type"], "text/event-stream");
  const events = response[Symbol.asyncIterator]();
  for (const word of ["one", "two"]) {
    await page.run(({ state }, word) => state.say(word), word);
    const { value } = await inTime("an event", events.next());
    assert.equal(String(value), `data: ${word}\n\n`);
  }
  response.destroy();
  assert.equal((await noted("cancelled")).reason, "reset");
  assert.equal((await noted("requestAborted")).reason, "reset");
  assert.equal(await noted("aborted"), true);
});

test("a handler that has not answered is told that its client has gone", async (t) => {
  const { proxy, noted, errors } = await setUp(t, `{ onRequest: async (request) => {
    state.came = true;
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    return new Response(new ReadableStream({ cancel() { state.cancelled = true; } }));
  } }`);
  const request = http.request({ createConnection: () => proxy.open() }).on("error", () => {});
  request.end();
  await noted("came");
  request.destroy();
  assert.equal(await noted("cancelled"), true);
  assert.deepEqual(await errors(), []);
});

test("who does not read holds the other up, in both directions", async (t) => {
  const { proxy, page, noted } = await setUp(t, `{ onRequest: async (request) => {
    state.given = 0;
    if (request.method === "GET") return new Response(new ReadableStream({
      pull(controller) {
        if ((state.given += 10_000) > 4_000_000) return controller.close();
        controller.enqueue(new Uint8Array(10_000));
      },
    }));
    state.reader = request.body.getReader();
    await page.until(() => state.goOn);
    let length = 0;
    for (let next; !(next = await state.reader.read()).done;) length += next.value.length;
    return new Response(String(length));
  } }`);
  const download = proxy.open();
  download.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await eventually("the answer is held up", () => download.bytesIn >= window);
  assert.ok(download.bytesIn < window + 200_000); // and what a stream takes before it is read
  const given = await page.run(({ state }) => state.given);
  assert.ok(given < window + 300_000, `${given} bytes were asked for, of which nobody reads any`);
  let length = 0;
  for await (const chunk of download) {
    length += chunk.length;
    if (String(chunk.subarray(-5)) === "0\r\n\r\n") break;
  }
  assert.ok(length > 4_000_000);

  const upload = proxy.open();
  upload.write(`POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${MiB}\r\n\r\n`);
  upload.write(Buffer.alloc(MiB));
  await noted("reader");
  await eventually("the upload is held up", () => upload.bytesOut === window);
  await page.run(({ state }) => { state.goOn = true; });
  assert.match(String(await readAll(upload)), /\r\n\r\n7\r\n1048576\r\n0\r\n\r\n$/);
});

/** Sends bytes as they are, and returns all that the page answers until it closes. */
async function exchange(proxy, bytes) {
  const connection = proxy.open();
  connection.write(bytes);
  const answer = String(await readAll(connection));
  return { answer, closed: await connection.whenClosed() };
}

const get = (path, more = "") => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

test("requests that come at once are answered in order", async (t) => {
  const { proxy } = await setUp(t, `{ onRequest: async (request, { path }) => new Response(path + await request.text()) }`);
  const post = (body) => `POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const { answer, closed } = await exchange(proxy, get("/1") + post("abc") + get("/2") + get("/3", "Connection: close\r\n") + get("/4"));
  assert.deepEqual([...answer.matchAll(/\r\n\r\n\d\r\n(\S+)\r\n0/g)].map(([, body]) => body), ["/1", "/pabc", "/2", "/3"]);
  assert.deepEqual([closed.type, closed.reason], ["tcp_close", undefined]);
});

test("the head of a request may come byte by byte", async (t) => {
  const { proxy } = await setUp(t, echo);
  const connection = proxy.open();
  for (const byte of Buffer.from(get("/bytes", "Connection: close\r\n"))) connection.write(Buffer.of(byte));
  assert.match(String(await readAll(connection)), /^HTTP\/1.1 201 .*"\/bytes"/s);
});

test("what is not HTTP is answered 400, and the connection closed", async (t) => {
  const { proxy, page, errors } = await setUp(t, `{ onRequest: async (request) => {
    state.count = (state.count ?? 0) + 1;
    return new Response(await request.text());
  } }`);
  const chunked = (body) => `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
  for (const [bytes, status = 400] of [
    ["GET / HTTP/1.1\nHost: x\n\n"],
    ["GET  / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505],
    ["GET / HTTP/1.1\r\n\r\n"],
    [get("/", "A: b\r\n c\r\n")],
    [get("/", "A : b\r\n")],
    [get("/", "A: b\rc\r\n")],
    [get("/", "A: b\0\r\n")],
    [get("/", "Host: y\r\n")],
    [get("/", "Content-Length: 1\r\nContent-Length: 2\r\n")],
    [get("/", "Content-Length: +1\r\n")],
    [get("/", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")],
    [get("/", "Transfer-Encoding: gzip, chunked\r\n"), 501],
    [get("/", `A: ${"b".repeat(65_536)}\r\n`), 431],
    [get("/", "A: b\r\n".repeat(200)), 431],
    [get("/", "Transfer-Encoding: chunked\r\n") + "x\r\n"], [chunked("x\r\n")], [chunked("1 \r\na\r\n0\r\n\r\n")], [chunked("1\r\nab\r\n")], [chunked("1\na")], [chunked("0x1\r\na\r\n")],
    [chunked("0\r\nA : b\r\n\r\n")], [chunked("fffffffffffffffff\r\n")],
  ]) {
    const { answer, closed } = await exchange(proxy, bytes);
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(bytes.slice(0, 200)));
    assert.match(answer, /connection: close/);
    assert.equal(closed.reason, undefined);
  }
  assert.deepEqual(await errors(), []);
  assert.equal(await page.run(({ state }) => state.count), 7, "the bodies only reach the page");
});

test("trailers, both ways", async (t) => {
  const { proxy } = await setUp(t, `{ onRequest: async (request, info) => {
    const body = await request.text();
    info.answerTrailers.set("X-Sum", body + info.trailers.get("X-End"));
    return new Response(body);
  } }`);
  const request = http.request({ method: "POST", createConnection: () => proxy.open(), headers: { Trailer: "X-End" } });
  request.addTrailers({ "X-End": "end" });
  request.write("body ");
  request.end();
  const [response] = await inTime("the answer", once(request, "response"));
  assert.equal(String(await readAll(response)), "body ");
  assert.equal(response.trailers["x-sum"], "body end");
});

test("a body is asked for when it is read, and not otherwise", async (t) => {
  const { proxy } = await setUp(t, `{ onRequest: async (request, { path }) => {
    if (path === "/unread") return new Response("no");
    return new Response(await request.text());
  } }`);
  const read = proxy.open();
  read.write("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\n");
  await inTime("100", once(read, "readable"));
  assert.equal(String(read.read()), "HTTP/1.1 100 Continue\r\n\r\n");
  read.write("abc");
  assert.match(String(await readAll(read)), /^HTTP\/1.1 200 .*abc/s);
  const unread = await exchange(proxy, "POST /unread HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  assert.match(unread.answer, /^HTTP\/1.1 200 .*connection: close/s);
  assert.equal(unread.closed.reason, undefined);
});

test("an answer before the body has come", async (t) => {
  const { proxy, page } = await setUp(t, `{ onRequest: (request) => {
    if (request.method === "POST") state.request ??= request;
    return new Response("early");
  } }`);
  // What is here already is in nobody's way.
  const small = await exchange(proxy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get("/", "Connection: close\r\n"));
  assert.equal(small.answer.match(/early/g).length, 2);
  assert.match((await page.run((page) => page.outcome(page.state.request.text()))).error.message, /./, "it is not there any more");
  const large = proxy.open();
  large.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const endless = setInterval(() => large.write(`10000\r\n${"x".repeat(0x10000)}\r\n`), 1);
  t.after(() => clearInterval(endless));
  assert.match(String(await readAll(large)), /early/);
  assert.equal((await large.whenClosed()).reason, undefined);
});

test("an answer that is not as long as it says is never whole", async (t) => {
  const { proxy, errors } = await setUp(t, `{ onRequest: (request, { path }) => {
    const [, length, ...chunks] = path.split("/");
    return new Response(new ReadableStream({ async start(controller) {
      for (const chunk of chunks) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (chunk === "error") return controller.error(new Error("broken"));
        controller.enqueue(page.encode(chunk));
      }
      controller.close();
    } }), length === "unknown" ? {} : { headers: { "Content-Length": length } });
  } }`);
  for (const path of ["/5/abcd", "/5/abc/def", "/5/abcde/f", "/3/abcd", "/0/a", "/5/ab/error", "/unknown/ab/error"]) {
    const connection = proxy.open();
    connection.write(get(path));
    let answer = "";
    connection.on("data", (chunk) => { answer += chunk; });
    assert.equal((await connection.whenClosed()).reason, "reset", path);
    const [, body] = answer.split("\r\n\r\n");
    assert.ok(path.startsWith("/unknown") ? !answer.endsWith("0\r\n\r\n") : (body?.length ?? -1) < Number(path[1]), `${path}: ${answer}`);
  }
  assert.equal((await errors()).length, 7);
  assert.equal(String((await proxy.ask({ path: "/5/ab/cde" })).body), "abcde");
});

test("answers of odd shapes", async (t) => {
  const { proxy, errors, noted } = await setUp(t, `{ maxBody: 5, onRequest: (request, info) => {
    const answers = {
      "/gone": () => new Response(null, { status: 204 }),
      "/unchanged": () => new Response(null, { status: 304, headers: { ETag: "x", "Content-Length": "5" } }),
      "/reset": () => new Response(null, { status: 205 }),
      "/nothing": () => new Response(null, { headers: { Connection: "close", "Transfer-Encoding": "gzip" } }),
      "/length": () => new Response("four", { statusText: "Well", headers: { "Content-Length": "4" } }),
      "/cookies": () => { info.setCookies.push("a=1", "b=2"); return new Response("x"); },
      "/body": () => new Response(info.body),
      "/head": () => new Response(new ReadableStream({ cancel() { state.cancelled = true; } })),
      "/throws": () => { throw new Error("secret"); },
      "/rejects": () => Promise.reject(new Error("secret")),
      "/error": () => Response.error(),
      "/none": () => undefined,
      "/text": () => new Response(new ReadableStream({ start: (c) => c.enqueue("text") })),
      "/locked": () => { const r = new Response("x"); r.body.getReader(); return r; },
      "/many": () => new Response("x", { headers: { "Content-Length": "many" } }),
      "/split": () => { info.setCookies.push("a=1\\r\\nX-Evil: 1"); return new Response("x"); },
    };
    return answers[info.path]();
  } }`);
  const ask = async (path, options) => {
    const { status, headers, body } = await proxy.ask({ path, ...options });
    return [status, headers["content-length"] ?? headers["transfer-encoding"], String(body)];
  };
  assert.deepEqual(await ask("/gone"), [204, undefined, ""]);
  assert.deepEqual(await ask("/unchanged"), [304, "5", ""]);
  assert.deepEqual(await ask("/reset"), [205, "0", ""]);
  assert.deepEqual(await ask("/nothing"), [200, "0", ""]);
  assert.deepEqual(await ask("/length"), [200, "4", "four"]);
  assert.deepEqual((await proxy.ask({ path: "/cookies" })).headers["set-cookie"], ["a=1", "b=2"]);
  assert.deepEqual(await ask("/body", { body: "query", headers: { "Content-Length": 5 } }), [200, "chunked", "query"]);
  assert.equal((await ask("/body", { body: "query!", headers: { "Content-Length": 6 } }))[0], 413);
  assert.deepEqual(await ask("/head", { method: "HEAD" }), [200, "chunked", ""]);
  assert.equal(await noted("cancelled"), true);
  assert.equal((await ask("/trace", { method: "TRACE" }))[0], 405);
  assert.deepEqual(await errors(), []);
  for (const [path, status] of [["/throws", 500], ["/rejects", 500], ["/error", 502], ["/none", 502], ["/locked", 502], ["/many", 502], ["/split", 502]]) {
    assert.equal((await ask(path))[0], status, path);
  }
  await assert.rejects(ask("/text"));
  assert.equal((await errors()).length, 8);
  const old = await exchange(proxy, "GET /cookies HTTP/1.0\r\n\r\n");
  assert.match(old.answer, /connection: close\r\n\r\nx$/, "without a length the end is the connection's");
});

test("20 MiB come back while they are sent, and 40 requests at once each get their own answer", async (t) => {
  const { proxy } = await setUp(t, echo);
  const body = randomBytes(20 * MiB);
  const answers = Array.from({ length: 40 }, (_, i) => proxy.ask({ method: "POST", body: `body ${i}` }));
  assert.equal(digest((await proxy.ask({ method: "POST", body })).body), digest(body));
  for (const [i, { body }] of (await Promise.all(answers)).entries()) assert.equal(String(body), `body ${i}`);
});

test("a page that passes bytes on gets the connections themselves", async (t) => {
  const { proxy, noted } = await setUp(t, `{ httpConnections: true, onConnection: async ({ readable, writable, protocol }) => {
    state[protocol] = true;
    const reader = readable.getReader();
    const { value } = await reader.read();
    const word = new TextDecoder().decode(value);
    if (word === "refuse") throw new Error("there is no service");
    const writer = writable.getWriter();
    await writer.write(value);
    if (word === "cut") await writer.abort(new Error("cut"));
    else await writer.close();
  } }`);
  for (const [word, reason] of [["whole", undefined], ["cut", "reset"], ["refuse", "refused"]]) {
    const connection = proxy.open();
    connection.write(word);
    assert.equal((await connection.whenClosed()).reason, reason, word);
  }
  assert.equal(await noted("http/1.1"), true);
  const raw = proxy.open(null);
  raw.destroy();
});

test("a connection of a protocol that is not known is closed", async (t) => {
  const { proxy } = await setUp(t, `{ onRequest: () => new Response("x"), onConnection: () => { throw new Error("not HTTP"); } }`);
  assert.equal((await proxy.open("h3").whenClosed()).type, "tcp_close");
  assert.equal(String((await proxy.ask()).body), "x");
});

test("a tunnel without callbacks, and one that ends", async (t) => {
  const { proxy, page } = await setUp(t, "{}");
  const answer = await proxy.ask();
  assert.deepEqual([answer.status, String(answer.body)], [501, "The page behind this tunnel does not answer HTTP requests.\n"]);
  const idle = proxy.open();
  idle.end();
  assert.equal((await idle.whenClosed()).reason, undefined);
  await page.run(({ state }) => state.tunnel.close());
});
