// Requests as messages, http_request, of a server that has no http=bytes.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ask } from "./support/peers.js";
import { inBrowser, openPage } from "./support/place.js";
import { startRecorder } from "./support/recorder.js";
import { startServer } from "./support/server.js";

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A server of before, and a page to open a tunnel in, at the address `ws`. */
async function setUp(t, env) {
  const [server, page] = await Promise.all([startServer(t, env), openPage(t)]);
  const { url: ws } = await startRecorder(t, server, { isOld: true });
  const outside = (url, request) => ask(server, url, request);
  return { server, ws, page, outside };
}

test("requests reach the page and answers the world, text and bytes", async (t) => {
  const { server, ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    const tunnel = await page.openTunnel({
      url,
      onRequest: async (request, info) => {
        if (info.path.startsWith("/echo")) {
          return new Response(await request.arrayBuffer(), {
            status: 201,
            headers: { "Content-Type": request.headers.get("Content-Type") ?? "none/none", "X-Method": request.method },
          });
        }
        return Response.json({ method: info.method, path: info.path, url: request.url, from: info.remoteAddr });
      },
    });
    return tunnel.url;
  }, ws);

  const get = await outside(url, { path: "//a/./b%20c?x=1&y=/../z" });
  assert.equal(get.status, 200);
  const host = `${new URL(url).hostname}:${server.port}`;
  assert.deepEqual(JSON.parse(get.body), {
    method: "GET", path: "//a/./b%20c?x=1&y=/../z", url: `http://${host}//a/b%20c?x=1&y=/../z`, from: "127.0.0.1",
  });
  const everything = JSON.parse((await outside(url, { method: "OPTIONS", path: "*" })).body);
  assert.deepEqual([everything.method, everything.path, everything.url], ["OPTIONS", "*", `http://${host}/`]);

  const bodies = {
    text: Buffer.from("\uFEFFh\u00e9llo \u{1F600} \"quoted\" \\ \u0000\r\n"),
    empty: Buffer.alloc(0),
    binary: randomBytes(100_001),
    escapes: Buffer.alloc(300_000, 1), // JSON would make six bytes of each
    large: randomBytes(5 << 20),
    "large text": Buffer.alloc(5 << 20, "zw\u00f6lf "),
  };
  for (const [name, body] of Object.entries(bodies)) {
    const answer = await outside(url, { method: "POST", path: "/echo", body, headers: { "Content-Type": "a/b" } });
    assert.equal(answer.status, 201, name);
    assert.equal(answer.headers["content-type"], "a/b", name);
    assert.equal(answer.headers["x-method"], "POST", name);
    assert.equal(digest(answer.body), digest(body), name);
  }
  const untyped = await outside(url, { method: "PUT", path: "/echo", body: "x" });
  assert.equal(untyped.headers["content-type"], "none/none");
});

test("headers arrive complete, those too that a browser takes away", async (t) => {
  const { ws, page, outside } = await setUp(t, { TUNNEL_FORWARD_CREDENTIALS: "true" });
  const url = await page.run(async (page, url) => {
    const tunnel = await page.openTunnel({
      url,
      onRequest: (request, info) => {
        info.setCookies.push("a=1; Path=/", "b=2");
        return Response.json({
          request: Object.fromEntries(request.headers), info: Object.fromEntries(info.headers),
        }, { headers: { "X-Bytes": "h\u00c3\u00a9" } });
      },
    });
    return tunnel.url;
  }, ws);
  const answer = await outside(url, {
    headers: {
      Cookie: "c=3", Origin: "https://elsewhere.example.com", Referer: "https://elsewhere.example.com/p",
      Authorization: "Basic eA==", "X-Name": Buffer.from("h\u00e9").toString("latin1"),
    },
  });
  const { request, info } = JSON.parse(answer.body);
  assert.equal(info.cookie, "c=3");
  assert.equal(info.origin, "https://elsewhere.example.com");
  assert.equal(info.referer, "https://elsewhere.example.com/p");
  assert.equal(info["x-forwarded-for"], "127.0.0.1");
  assert.equal(request.authorization, "Basic eA==");
  assert.equal(request["x-name"], "h\u00c3\u00a9"); // the bytes, as everywhere in the fetch API
  assert.equal(answer.headers["x-bytes"], Buffer.from("h\u00e9").toString("latin1"));
  assert.deepEqual(answer.headers["set-cookie"], ["a=1; Path=/", "b=2"]);
  if (inBrowser) assert.equal(request.cookie, undefined);
});

// A browser does not let a Response have them.
if (!inBrowser) {
  test("cookies of a Response", async (t) => {
    const { ws, page, outside } = await setUp(t, { TUNNEL_FORWARD_CREDENTIALS: "true" });
    const url = await page.run(async (page, url) => {
      const onRequest = () => new Response("", { headers: [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]] });
      return (await page.openTunnel({ url, onRequest })).url;
    }, ws);
    assert.deepEqual((await outside(url)).headers["set-cookie"], ["a=1", "b=2"]);
  });
}

test("requests and answers of odd shapes", async (t) => {
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    const { state } = page;
    state.errors = [];
    const answers = {
      "/gone": () => new Response(null, { status: 204 }),
      "/unchanged": () => new Response(null, { status: 304, headers: { ETag: "\"x\"" } }),
      "/error": () => Response.error(),
      "/none": () => undefined,
      "/throws": () => { throw new Error("secret"); },
      "/rejects": () => Promise.reject(new Error("secret")),
      "/locked": () => {
        const response = new Response("read by somebody else");
        response.body.getReader();
        return response;
      },
      "/text": () => new Response(new ReadableStream({ start: (c) => c.enqueue("text") })),
      "/used": async () => {
        const response = new Response("once");
        await response.text();
        return response;
      },
      "/large": () => new Response(new Uint8Array(10_001)),
      "/broken": () => new Response(new ReadableStream({ pull: (c) => c.error(new Error("secret")) })),
      "/stream": () => new Response(new Blob(["a", "b"]).stream()),
      "/length": () => new Response("four", { headers: { "Content-Length": "4000" } }),
    };
    const tunnel = await page.openTunnel({
      url, maxBody: 10_000, onError: (error) => state.errors.push(error.message),
      onRequest: (request, info) => answers[info.path]?.()
        ?? Response.json({ body: info.body && new TextDecoder().decode(info.body), has: request.body !== null },
          { headers: { "X-Length": String(info.body?.length) } }),
    });
    return tunnel.url;
  }, ws);
  const status = async (path, method) => (await outside(url, { path, method })).status;
  assert.equal(await status("/gone"), 204);
  assert.equal((await outside(url, { path: "/unchanged" })).headers.etag, "\"x\"");
  assert.equal(await status("/other", "TRACE"), 405);
  assert.equal(String((await outside(url, { path: "/stream" })).body), "ab");
  assert.equal(String((await outside(url, { path: "/length" })).body), "four");
  assert.deepEqual(await page.run((page) => page.state.errors), []);
  for (const [path, expected] of [["/error", 502], ["/throws", 500], ["/rejects", 500], ["/used", 502], ["/large", 502], ["/broken", 502], ["/locked", 502], ["/text", 502]]) {
    const answer = await outside(url, { path });
    assert.equal(answer.status, expected, path);
    assert.match(String(answer.body), /^The page behind this tunnel .*\.\n$/, path);
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
  }
  const errors = await page.run((page) => page.state.errors);
  assert.equal(errors.length, 8);
  assert.deepEqual(errors.slice(1, 3), ["secret", "secret"]);
  assert.match(errors[4], /larger than maxBody, 10000 bytes/);

  const withBody = await outside(url, { path: "/body", body: "query", headers: { "Content-Length": "5" } });
  assert.deepEqual(JSON.parse(withBody.body), { body: "query", has: false });
  const head = await outside(url, { path: "/head", method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.headers["x-length"], "undefined");
  assert.equal(head.body.length, 0);
});

test("what is fetched from elsewhere passes, though it was compressed", async (t) => {
  const plain = Buffer.from("compressed and fetched ".repeat(5000));
  const zipped = gzipSync(plain);
  const elsewhere = http.createServer((request, response) => {
    response.writeHead(200, {
      "Content-Type": "text/plain", "Content-Encoding": "gzip", "Content-Length": zipped.length,
      "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*",
    });
    response.end(request.method === "HEAD" ? undefined : zipped);
  });
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    elsewhere.close();
    elsewhere.closeAllConnections();
  });
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, { url, from, zipped }) => {
    const tunnel = await page.openTunnel({
      url,
      onRequest: (request) => new URL(request.url).pathname === "/own"
        // One that was made here says what it is.
        ? new Response(Uint8Array.from(zipped), { headers: { "Content-Encoding": "gzip" } })
        : fetch(from, { method: request.method }),
    });
    return tunnel.url;
  }, { url: ws, from: `http://127.0.0.1:${elsewhere.address().port}/`, zipped: [...zipped] });
  const fetched = await outside(url);
  assert.equal(fetched.headers["content-encoding"], undefined);
  assert.equal(fetched.headers["content-length"], String(plain.length));
  assert.equal(digest(fetched.body), digest(plain));
  const own = await outside(url, { path: "/own" });
  assert.equal(own.headers["content-encoding"], "gzip");
  assert.equal(digest(own.body), digest(zipped));
  const head = await outside(url, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.headers["content-encoding"], undefined);
});

test("40 requests at once, each with its own answer", async (t) => {
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    const { state } = page;
    const all = new Promise((resolve) => { state.allCame = resolve; });
    let count = 0;
    const tunnel = await page.openTunnel({
      url,
      onRequest: async (request) => {
        if (++count === 40) state.allCame();
        await all; // none is answered before all are there
        return new Response(`${await request.text()} of ${new URL(request.url).pathname}`);
      },
    });
    return tunnel.url;
  }, ws);
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) =>
    outside(url, { method: "POST", path: `/${i}`, body: `body ${i}`.padEnd(20_000, ".") })));
  answers.forEach((answer, i) => {
    assert.equal(String(answer.body), `${`body ${i}`.padEnd(20_000, ".")} of /${i}`);
  });
});

test("a tunnel without callbacks answers all the same, until it is closed", async (t) => {
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    page.state.tunnel = await page.openTunnel({ url });
    return page.state.tunnel.url;
  }, ws);
  const answer = await outside(url);
  assert.equal(answer.status, 501);
  assert.equal(String(answer.body), "The page behind this tunnel does not answer HTTP requests.\n");
  const closed = await page.run(async ({ state }) => {
    await state.tunnel.close();
    await state.tunnel.close();
    return state.tunnel.closed;
  });
  assert.deepEqual(closed, { code: 1000, reason: "" });
  assert.equal((await outside(url)).status, 404);
});

test("a tunnel that ends tells the handlers of pending requests", async (t) => {
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    const { state } = page;
    state.came = new Promise((resolve) => { state.requestCame = resolve; });
    state.tunnel = await page.openTunnel({
      url,
      onRequest: (request, info) => new Promise((resolve) => {
        info.signal.onabort = () => {
          state.told = true;
          resolve(new Response("too late"));
        };
        state.requestCame();
      }),
    });
    return state.tunnel.url;
  }, ws);
  const answer = outside(url);
  const told = await page.run(async ({ state }) => {
    await state.came;
    await state.tunnel.close();
    return state.told;
  });
  assert.equal(told, true);
  assert.equal((await answer).status, 502);
});

/**
 * A page whose answers are streams without end. state.streams has what became
 * of each, by its path: how many bytes were asked for, and why it was cancelled.
 */
async function openEndless(t, options, env) {
  const { server, ws, page, outside } = await setUp(t, env);
  const url = await page.run(async (page, { url, options }) => {
    const { state } = page;
    Object.assign(state, { streams: {}, errors: [], came: 0 });
    const endless = (path, chunk) => {
      const stream = state.streams[path] = { given: 0 };
      return new Response(new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          stream.given += chunk;
          controller.enqueue(new Uint8Array(chunk));
        },
        cancel(reason) { stream.cancelled = page.told(reason); },
      }));
    };
    state.tunnel = await page.openTunnel({
      url,
      ...options,
      onError: (error) => state.errors.push(page.told(error)),
      onRequest: async (request, { path, method, signal }) => {
        state.came++;
        signal.addEventListener("abort", () => { state.aborted = page.told(signal.reason); });
        if (path === "/fast") return endless(path, 100_000);
        if (path === "/slow") return endless(path, 1);
        if (path === "/hangs") {
          const stream = state.streams[path] = { given: 0 };
          return new Response(new ReadableStream({ cancel(reason) { stream.cancelled = page.told(reason); } }));
        }
        if (path === "/never") return new Promise(() => {});
        if (path === "/late") {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          return endless(path, 1);
        }
        if (method === "HEAD") return endless(path, 1);
        return new Response("still here");
      },
    });
    return state.tunnel.url;
  }, { url: ws, options });
  /** Why the stream was cancelled, as soon as it is. */
  const cancelled = (path) => page.run(async ({ state, until }, path) => {
    await until(() => state.streams[path]?.cancelled);
    return state.streams[path].cancelled;
  }, path);
  return { server, page, url, outside, cancelled };
}

test("an answer above maxBody is read no further, and its stream cancelled", async (t) => {
  const { page, url, outside, cancelled } = await openEndless(t, { maxBody: 1_000_000 });
  const answer = await outside(url, { path: "/fast" });
  assert.equal(answer.status, 502);
  assert.match((await cancelled("/fast")).message, /larger than maxBody/);
  const { given } = await page.run(({ state }) => state.streams["/fast"]);
  assert.ok(given > 1_000_000 && given <= 1_300_000, `${given} bytes were read of an answer with maxBody 1000000`);
  assert.equal(String((await outside(url)).body), "still here");
});

test("the body of an answer to HEAD is cancelled and not read", async (t) => {
  const { url, outside, cancelled } = await openEndless(t);
  assert.equal((await outside(url, { path: "/head", method: "HEAD" })).status, 200);
  await cancelled("/head");
});

test("an answer that takes too long is given up", async (t) => {
  const { page, url, outside, cancelled } = await openEndless(t, { requestTimeout: 200 });
  for (const path of ["/slow", "/hangs", "/never", "/late"]) {
    await page.run(({ state }) => { delete state.aborted; });
    const answer = await outside(url, { path });
    assert.equal(answer.status, 504, path);
    assert.equal(String(answer.body), "The page behind this tunnel did not answer in time.\n", path);
    if (path !== "/never") assert.equal((await cancelled(path)).name, "TimeoutError", path);
    assert.equal((await page.run(({ state }) => state.aborted))?.name, "TimeoutError", path);
  }
  const errors = await page.run(({ state }) => state.errors);
  assert.deepEqual(errors.map(({ name }) => name), Array(4).fill("TimeoutError"));
  assert.match(errors[0].message, /requestTimeout, 200 ms/);
  assert.equal(String((await outside(url)).body), "still here");
});

test("the end of the tunnel cancels the answers that are being read", async (t) => {
  for (const end of ["close", "kill"]) {
    const { server, page, url, outside, cancelled } = await openEndless(t);
    const answers = ["/late", "/slow", "/hangs"].map((path) => outside(url, { path }).catch(() => {}));
    await page.run(({ state, until }) => until(() => state.came === 3));
    if (end === "close") await page.run(({ state }) => state.tunnel.close());
    else await server.kill();
    for (const path of ["/slow", "/hangs", "/late"]) {
      const { name, code } = await cancelled(path);
      assert.deepEqual({ name, code }, { name: "WsproxyError", code: end === "close" ? 1000 : 1006 }, path);
    }
    await Promise.all(answers);
    assert.deepEqual(await page.run(({ state }) => state.errors), [], "closed tells of the end, onError does not");
  }
});

test("an answer in chunks of one byte", async (t) => {
  const { ws, page, outside } = await setUp(t);
  const url = await page.run(async (page, url) => {
    const tunnel = await page.openTunnel({
      url,
      onRequest: () => {
        let count = 0;
        return new Response(new ReadableStream({
          pull(controller) {
            if (count === 20_000) controller.close();
            else controller.enqueue(Uint8Array.of(count++ & 0xff));
          },
        }));
      },
    });
    return tunnel.url;
  }, ws);
  const { body } = await outside(url);
  assert.equal(digest(body), digest(Buffer.from(Array.from({ length: 20_000 }, (_, i) => i & 0xff))));
});

test("limits that are none are refused", async (t) => {
  const page = await openPage(t);
  for (const options of [{ maxBody: "10 MiB" }, { maxBody: 0 }, { requestTimeout: -1 }, { requestTimeout: "60s" }]) {
    const { error } = await page.run(
      (page, options) => page.outcome(page.openTunnel({ url: "ws://127.0.0.1:1", ...options })), options);
    assert.equal(error.name, "TypeError", JSON.stringify(options));
  }
  const { error } = await page.run((page) => page.outcome(
    page.connectRelay({ url: "ws://127.0.0.1:1", host: "h", port: 1, maxUnread: NaN })));
  assert.equal(error.name, "TypeError");
});
