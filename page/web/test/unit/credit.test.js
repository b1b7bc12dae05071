import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { load } from "../support/ts.js";

const { Credit, Tail } = await load("src/worker/credit.ts", "src/worker/tail.ts");

/** Takes pieces one after the other, and tells how many it has got. */
function taker(credit, size) {
  const taken = { count: 0 };
  taken.done = (async () => {
    for (;;) {
      await credit.take(size);
      taken.count++;
    }
  })();
  taken.done.catch(() => {});
  return taken;
}

test("no more than the limit is on its way", async () => {
  const credit = new Credit(100);
  const taken = taker(credit, 30);
  await turn();
  assert.deepEqual([taken.count, credit.outstanding], [3, 90]);
  credit.give(30);
  await turn();
  assert.deepEqual([taken.count, credit.outstanding], [4, 90]);
  credit.give(90);
  await turn();
  assert.deepEqual([taken.count, credit.outstanding], [7, 90]);
});

test("one piece above the limit goes alone", async () => {
  const credit = new Credit(100);
  const taken = taker(credit, 1000);
  await turn();
  assert.equal(taken.count, 1);
  credit.give(999);
  await turn();
  assert.equal(taken.count, 1);
  credit.give(1);
  await turn();
  assert.equal(taken.count, 2);
});

test("those who wait are served in order", async () => {
  const credit = new Credit(100), order = [];
  await credit.take(100);
  const big = credit.take(80).then(() => order.push("big")), small = credit.take(1).then(() => order.push("small"));
  credit.give(50);
  await turn();
  assert.deepEqual(order, []);
  credit.give(50);
  await Promise.all([big, small]);
  assert.deepEqual(order, ["big", "small"]);
});

test("what was never sent can't be acknowledged", async () => {
  const credit = new Credit(100);
  await credit.take(10);
  for (const bad of [11, -1, 0.5, NaN, Infinity, "1", undefined]) assert.throws(() => credit.give(bad), RangeError, String(bad));
  credit.give(10);
});

test("a reset begins anew, an end tells all", async () => {
  const credit = new Credit(100);
  const taken = taker(credit, 60);
  await turn();
  credit.reset();
  await turn();
  assert.deepEqual([taken.count, credit.outstanding], [2, 60]);
  credit.end(new Error("over"));
  await assert.rejects(taken.done, /over/);
  await assert.rejects(credit.take(1), /over/);
});

test("a tail keeps the latest lines, within bounds", () => {
  const tail = new Tail(100), encoder = new TextEncoder();
  assert.equal(tail.bytes().length, 0);
  tail.add(encoder.encode("short\n"));
  assert.equal(String(Buffer.from(tail.bytes())), "short\n");
  for (let i = 0; i < 1000; i++) tail.add(encoder.encode(`line ${i}\n`));
  const text = String(Buffer.from(tail.bytes()));
  assert.match(text, /^line 9\d\d\n/);
  assert.match(text, /line 998\nline 999\n$/);
  assert.ok(text.length <= 100, text);
  tail.add(new Uint8Array(1000).fill(65)); // no line break far and wide
  assert.equal(tail.bytes().length, 100);
});
