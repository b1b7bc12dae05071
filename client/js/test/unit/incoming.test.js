import assert from "node:assert/strict";
import { test } from "node:test";
import { sentence, withBody } from "../../src/incoming.js";

const bodiless = (headers) => new Request("http://t.example.com/", { method: "POST", headers });
const streamOf = (text) => new Blob([text]).stream();

test("where a Request can't have a stream it reads as if it had", async () => {
  for (const [read, want] of [["text", "a=b"], ["arrayBuffer", 3], ["blob", 3]]) {
    const request = withBody(bodiless({ "Content-Type": "text/x" }), streamOf("a=b"));
    assert.equal(request.bodyUsed, false);
    const got = await request[read]();
    assert.equal(got.byteLength ?? got.size ?? got, want);
    assert.equal(request.bodyUsed, true);
    await assert.rejects(request.text());
  }
  const form = await withBody(bodiless({ "Content-Type": "application/x-www-form-urlencoded" }), streamOf("a=b")).formData();
  assert.equal(form.get("a"), "b");
  assert.deepEqual(await withBody(bodiless({}), streamOf("[1]")).json(), [1]);
  const request = withBody(bodiless({ "X-A": "b" }), streamOf("x"));
  assert.ok(request instanceof Request && request.body instanceof ReadableStream);
  assert.equal(request.headers.get("X-A"), "b");
  assert.equal(request.method, "POST");
});

test("a sentence says how long it is, in bytes", async () => {
  const response = sentence(400, "N\u00f6.");
  assert.equal(response.headers.get("Content-Length"), "5");
  assert.equal(await response.text(), "N\u00f6.\n");
});
