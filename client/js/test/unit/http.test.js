import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { answer } from "../../src/http.js";

const url = "https://4ee39bcd8da45d39.tunnel.example.com";

/** What a request comes to: what the handler got, and the message for the server. */
async function exchange(message, onRequest = () => new Response("ok")) {
  const got = { errors: [] };
  const text = await answer({ id: "b1", method: "GET", path: "/", headers: {}, body: "", ...message }, {
    url, signal: new AbortController().signal, maxBody: 10 << 20,
    onError: (error) => got.errors.push(error),
    onRequest: (request, info) => {
      Object.assign(got, { request, info });
      return onRequest(request, info);
    },
  });
  return { ...got, text, response: JSON.parse(text) };
}

test("the request's URL", async () => {
  for (const [headers, path, want] of [
    [{}, "/a?b=c", `${url}/a?b=c`],
    [{ "X-Forwarded-Host": new URL(url).host, "X-Forwarded-Proto": "http" }, "/a", `${url}/a`],
    [{ "X-Forwarded-Host": "other.example.com:81", "X-Forwarded-Proto": "https" }, "/a", "https://other.example.com:81/a"],
    [{ "X-Forwarded-Host": "other.example.com:81" }, "//b/c", "http://other.example.com:81//b/c"],
    [{}, "//evil.example.com/", `${url}//evil.example.com/`],
    [{}, "/@evil.example.com", `${url}/@evil.example.com`],
    [{}, "*", `${url}/`],
  ]) {
    const { request, info } = await exchange({ path, headers });
    assert.equal(request.url, want);
    assert.equal(info.path, path);
  }
});

test("methods that a Request cannot have do not reach the page", async () => {
  for (const method of ["CONNECT", "TRACE", "TRACK"]) {
    const { request, response } = await exchange({ method });
    assert.equal(request, undefined);
    assert.equal(response.status, 405);
  }
  assert.equal((await exchange({ method: "PURGE" })).request.method, "PURGE");
  assert.equal((await exchange({ method: "patch" })).info.method, "patch");
});

test("bodies of requests, as text, as base64, and of a GET", async () => {
  const bytes = randomBytes(1000);
  const posted = await exchange({ method: "POST", body: bytes.toString("base64"), bodyEncoding: "base64" });
  assert.deepEqual(Buffer.from(await posted.request.arrayBuffer()), bytes);
  assert.equal(posted.request.headers.get("Content-Type"), null);
  const text = await exchange({ method: "POST", body: "h\u00e9" });
  assert.equal(await text.request.text(), "h\u00e9");
  const get = await exchange({ body: "AP8=", bodyEncoding: "base64" });
  assert.deepEqual([...get.info.body], [0, 255]);
  assert.equal(get.request.body, null);
});

test("no answer is longer than the server takes", async () => {
  const size = 1 << 20;
  for (const [name, body] of Object.entries({
    control: Buffer.alloc(size, 1), quotes: Buffer.alloc(size, "\""), lines: Buffer.alloc(size, "line\n"),
    random: randomBytes(size), euros: Buffer.alloc(size, "\u20ac"),
  })) {
    const { text, response } = await exchange({}, () => new Response(body));
    assert.ok(Buffer.byteLength(text) < 1.4 * size, `${name}: ${Buffer.byteLength(text)}`);
    assert.deepEqual(Buffer.from(response.body, response.bodyEncoding ?? "utf8"), body, name);
  }
  // Worth nothing in base64.
  assert.deepEqual((await exchange({}, () => new Response("{\"a\":\"\n\"}"))).response,
    { type: "http_response", id: "b1", status: 200, headers: { "content-type": "text/plain;charset=UTF-8" }, body: "{\"a\":\"\n\"}" });
});

test("framing headers are the server's", async () => {
  const headers = { "Content-Length": "7", "Transfer-Encoding": "chunked", "X-A": "b" };
  const { response } = await exchange({}, () => new Response(Uint8Array.of(1), { headers }));
  assert.deepEqual(response.headers, { "x-a": "b" });
  const head = await exchange({ method: "HEAD" }, () => new Response(null, { headers }));
  assert.deepEqual(head.response.headers, { "content-length": "7", "x-a": "b" });
});

test("what is no Response is an error of the page's", async () => {
  for (const wrong of [undefined, null, "text", {}, { status: 200 }]) {
    const { response, errors } = await exchange({}, () => wrong);
    assert.equal(response.status, 502);
    assert.match(errors[0].message, /must return a Response/);
  }
});
