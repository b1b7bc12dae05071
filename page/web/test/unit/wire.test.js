import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { load } from "../support/ts.js";

const { Wire, SSHError } = await load("src/worker/wire.ts", "src/lib/types.ts");

/** Two ends; the methods are theirs. */
function pair(t, left = {}, right = {}) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => { port1.close(); port2.close(); });
  return [new Wire(port1, left), new Wire(port2, right), port1];
}

test("a call has the method's answer, and its error with code and sentence", async (t) => {
  const [wire] = pair(t, {}, {
    add: (a, b) => a + b,
    fail: async () => { throw new SSHError("It is not there.", "not_found"); },
    break: () => { throw new TypeError("a fault"); },
  });
  assert.equal(await wire.call("add", 1, 2), 3);
  await assert.rejects(wire.call("fail"), { name: "SSHError", code: "not_found", message: "It is not there." });
  await assert.rejects(wire.call("break"), { name: "SSHError", code: "failed", message: "a fault" });
});

test("calls are answered in the order in which they are ready, and told ones come in order", async (t) => {
  const waits = {}, seen = [];
  const [wire] = pair(t, {}, {
    wait: (name) => new Promise((resolve) => { waits[name] = () => resolve(name); }),
    go: (name) => waits[name](),
    note: (n) => { seen.push(n); },
    noted: () => seen,
  });
  const done = [];
  const calls = ["a", "b"].map((name) => wire.call("wait", name).then((value) => done.push(value)));
  wire.tell("go", "b");
  await calls[1];
  wire.tell("go", "a");
  await Promise.all(calls);
  assert.deepEqual(done, ["b", "a"]);
  for (let i = 0; i < 100; i++) wire.tell("note", i);
  assert.deepEqual(await wire.call("noted"), Array.from({ length: 100 }, (_, i) => i));
});

test("bytes are handed over, those of an answer too", async (t) => {
  const mine = new Uint8Array([1, 2, 3]), theirs = new Uint8Array([4, 5, 6]);
  const [wire] = pair(t, {}, { swap: (bytes) => (bytes.length === 3 ? theirs : null) });
  assert.deepEqual([...await wire.callWith([mine.buffer], "swap", mine)], [4, 5, 6]);
  assert.deepEqual([mine.length, theirs.length], [0, 0]);
});

test("an unknown method is refused, an inherited one too", async (t) => {
  const [wire] = pair(t, {}, {});
  for (const name of ["nothing", "toString", "constructor", "__proto__"]) {
    await assert.rejects(wire.call(name), { code: "protocol" }, name);
  }
});

test("what is no message is dropped, and the rest goes on", async (t) => {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const wire = new Wire(port1, { ping: () => "pong" });
  for (const bad of [null, 1, "call", [], {}, { kind: "call" }, { kind: "call", id: "1", name: "ping", args: [] },
    { kind: "call", id: 1, name: "ping", args: {} }, { kind: "tell", name: 7, args: [] }, { kind: "value", id: 99, value: 1 },
    { kind: "error", id: 99, error: {} }, { kind: "error", id: 1 }, { kind: "end" }, { kind: "other", id: 1 }]) {
    port2.postMessage(bad);
  }
  const other = new Wire(port2, {});
  assert.equal(await other.call("ping"), "pong");
  assert.equal(wire.isEnded, false);
});

test("the end is told to the other side, and ends calls on both", async (t) => {
  const [left, right] = pair(t, { wait: () => new Promise(() => {}) }, { wait: () => new Promise(() => {}) });
  const calls = [left.call("wait"), right.call("wait")];
  right.end(new SSHError("That was it.", "limit"));
  for (const { reason } of await Promise.allSettled(calls)) assert.deepEqual([reason.code, reason.message], ["limit", "That was it."]);
  assert.equal((await left.ended).code, "limit");
  await assert.rejects(left.call("wait"), { code: "limit" });
  left.tell("wait"); // is of no use and harms nobody
});

test("a port that is gone ends the wire", async (t) => {
  const [left, , port] = pair(t, {}, {});
  const [other, right] = pair(t, {}, { wait: () => new Promise(() => {}) });
  void other, right;
  const closed = once(port, "close").catch(() => {});
  const call = left.call("wait");
  port.close();
  await assert.rejects(call, { code: "worker" });
  await closed;
});
