import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "../support/ts.js";

const { Exchange } = await load("src/worker/http.ts");
const encode = (text) => new TextEncoder().encode(text);

/** What is found of a conversation, whose parts are cut into pieces of a size. */
function follow(parts, size) {
  const seen = [];
  const exchange = new Exchange((method, path) => {
    const request = [method, path, 0];
    seen.push(request);
    return (status) => { request[2] = status; };
  });
  for (const [side, text] of parts) {
    const bytes = typeof text === "string" ? encode(text) : text;
    for (let i = 0; i < bytes.length; i += size) exchange[side].read(bytes.subarray(i, i + size));
  }
  return seen;
}

const sizes = [1, 2, 3, 7, 64, 1 << 20];

test("requests of one connection are found one after the other", () => {
  const parts = [
    ["requests", "GET /a?secret=1 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["answers", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/"],
    ["requests", "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\nGET /not-one HTTP/1.1\r\n\r\n\r\n"],
    ["answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nHTTP/\r\n0\r\nX: y\r\n\r\n"],
    ["requests", "PUT /c HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nGET\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n"],
    ["answers", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["requests", "HEAD /d HTTP/1.1\r\n\r\n"],
    ["answers", "HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n"],
    ["requests", "GET /e#f HTTP/1.1\r\n\r\n"],
    ["answers", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"],
    ["requests", "GET /g HTTP/1.1\r\n\r\n"],
    ["answers", "HTTP/1.1 200\r\n\r\nuntil the end HTTP/1.1 500\r\n\r\n"],
  ];
  for (const size of sizes) {
    assert.deepEqual(follow(parts, size), [
      ["GET", "/a", 200], ["POST", "/b", 201], ["PUT", "/c", 204], ["HEAD", "/d", 404], ["GET", "/e", 304], ["GET", "/g", 200],
    ], `pieces of ${size}`);
  }
});

test("behind an upgrade nothing is read", () => {
  const parts = [
    ["requests", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"],
    ["answers", "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 500 No\r\n\r\n"],
  ];
  for (const size of sizes) assert.deepEqual(follow(parts, size), [["GET", "/ws", 101]], `pieces of ${size}`);
});

test("what is no HTTP, or too long, is left alone", () => {
  for (const size of [7, 1 << 20]) {
    assert.deepEqual(follow([["requests", "\u0016\u0003\u0001\r\n\r\nGET / HTTP/1.1\r\n\r\n"]], size), []);
    assert.deepEqual(follow([["requests", `GET /${"a".repeat(70_000)} HTTP/1.1\r\n\r\n`]], size), []);
    assert.deepEqual(follow([["requests", "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /y HTTP/1.1\r\n\r\n"]], size), [["POST", "/x", 0]]);
    assert.deepEqual(follow([["requests", "POST /x HTTP/1.1\r\nContent-Length: -4\r\n\r\nGET /y HTTP/1.1\r\n\r\n"]], size), [["POST", "/x", 0]]);
  }
});

test("what a visitor sends to be a burden is followed no further than a request", () => {
  const count = { requests: 0 };
  const kept = [];
  const asking = () => new Exchange((method, path) => {
    count.requests++;
    kept.push(method.length + path.length);
    return () => {};
  });
  const began = performance.now();
  for (let i = 0; i < 20; i++) asking().requests.read(encode(`GET / HTTP/1.1\n${"a\n".repeat(32_000)}`));
  assert.ok(performance.now() - began < 2000, `20 heads of many lines take ${performance.now() - began} ms`);
  const one = asking();
  for (let i = 0; i < 10; i++) one.requests.read(encode("GET / HTTP/1.1\n\n".repeat(1000)));
  assert.equal(count.requests, 1000, "without an answer");
  asking().requests.read(encode(`${"M".repeat(20_000)} /${"p".repeat(40_000)} HTTP/1.1\r\n\r\n`));
  assert.ok(Math.max(...kept) < 2000, `${Math.max(...kept)} characters are kept of a request`);
});
