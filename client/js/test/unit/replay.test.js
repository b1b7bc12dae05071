import assert from "node:assert/strict";
import { test } from "node:test";
import { Receiver, Sender, splitTrailer, units } from "../../src/replay.js";
import { generator } from "../support/random.js";

const { bytes, messages } = units;
const KiB = 1024;

/** What next() gives, without waiting for it to be overwritten. */
const next = (sender) => {
  const message = sender.next();
  return typeof message === "object" ? message.slice() : message;
};

test("a binary message ends with the position behind it", () => {
  const sender = new Sender(bytes);
  sender.keep(Uint8Array.of(1, 2, 3));
  assert.deepEqual([...next(sender)], [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 3]);
  assert.equal(sender.next(), undefined);
  sender.keep(Uint8Array.of(4));
  assert.deepEqual([...next(sender)], [4, 0, 0, 0, 0, 0, 0, 0, 4]);
  assert.deepEqual(splitTrailer(Uint8Array.of(9, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), { payload: Uint8Array.of(9), position: Number.MAX_SAFE_INTEGER });
  assert.equal(splitTrailer(new Uint8Array(8)).position, 0);
  for (let length = 0; length < 8; length++) assert.ok(Number.isNaN(splitTrailer(new Uint8Array(length)).position));
});

test("positions above 2^32 keep their trailers", () => {
  const sender = new Sender(bytes);
  sender.position = 2 ** 40;
  sender.acked(0, 2 ** 41);
  sender.keep(Uint8Array.of(7));
  const { position } = splitTrailer(sender.next().slice());
  assert.equal(position, 2 ** 40 + 1);
});

test("the page may use its bytes again", () => {
  for (const unit of [bytes, messages]) {
    const sender = new Sender(unit);
    const own = Uint8Array.of(5);
    sender.keep(own);
    own[0] = 6;
    assert.equal(sender.next()[0], 5);
  }
});

test("a message has 64 KiB of payload at most", () => {
  const sender = new Sender(bytes);
  sender.acked(0, 1 << 20);
  sender.keep(new Uint8Array(150 * KiB));
  assert.deepEqual([1, 2, 3].map(() => sender.next().length - 8), [64 * KiB, 64 * KiB, 22 * KiB]);
});

test("nothing goes beyond the limit, and a lower limit says nothing", () => {
  const sender = new Sender(messages);
  for (let i = 0; i < 70; i++) sender.keep("{}");
  const count = () => {
    let n = 0;
    while (sender.next() !== undefined) n++;
    return n;
  };
  assert.equal(count(), 64);
  assert.equal(sender.space, -6);
  assert.ok(sender.acked(10, 3));
  assert.equal(count(), 0);
  assert.ok(sender.acked(5, 67));
  assert.equal(sender.acknowledged, 10);
  assert.equal(count(), 3);
  assert.ok(!sender.acked(68, 100), "an acknowledgement of what was never sent");
});

test("going on from a position, in the middle of a message too", () => {
  const sender = new Sender(bytes);
  sender.keep(Uint8Array.of(1, 2, 3, 4, 5));
  next(sender);
  sender.keep(Uint8Array.of(6));
  sender.acked(2, 0);
  assert.ok(!sender.rewind(1), "no longer kept");
  assert.ok(!sender.rewind(6), "never sent");
  assert.ok(sender.rewind(3));
  assert.deepEqual([...next(sender)].slice(0, -8), [4, 5, 6]);
  assert.ok(sender.rewind(6));
  assert.equal(sender.next(), undefined);
});

test("acknowledgements are due after a quarter, or 32 KiB", () => {
  for (const [window, step] of [[64 * KiB, 16 * KiB], [1 << 20, 32 * KiB], [100, 16 * KiB]]) {
    const receiver = new Receiver(bytes, window);
    assert.deepEqual(receiver.ack(), { type: "ack", bytes: 0, limit: Math.max(window, 64 * KiB) });
    assert.ok(receiver.came(step));
    receiver.passedAllBut(1);
    assert.deepEqual([receiver.isDue, receiver.isWaiting], [false, true]);
    receiver.passedAllBut(0);
    assert.ok(receiver.isDue);
    assert.deepEqual(receiver.ack(), { type: "ack", bytes: step, limit: step + Math.max(window, 64 * KiB) });
    assert.ok(!receiver.isWaiting);
  }
  const receiver = new Receiver(messages, 1024);
  receiver.came(31);
  receiver.passedAllBut(0);
  assert.ok(!receiver.isDue);
  receiver.came(1);
  receiver.passedAllBut(0);
  assert.ok(receiver.isDue);
});

test("what is beyond the limit that was told is seen", () => {
  const receiver = new Receiver(bytes, 100 * KiB);
  assert.ok(receiver.came(64 * KiB));
  receiver.ack();
  assert.ok(receiver.came(36 * KiB));
  assert.ok(!receiver.came(1));
});

/** Two sides and a line that loses what is on its way, at any moment. */
class Line {
  constructor(random, unit) {
    this.random = random;
    this.unit = unit;
    this.sides = [0, 1].map(() => ({
      sender: new Sender(unit), receiver: new Receiver(unit, unit.first * (1 + random.below(4))),
      sent: [], got: [], waiting: 0, way: [],
    }));
    this.connect();
  }

  connect() {
    for (const [i, side] of this.sides.entries()) {
      side.way = [];
      assert.ok(side.sender.rewind(this.sides[1 - i].receiver.position));
    }
    for (const side of this.sides) side.way.push(side.receiver.ack());
  }

  write(side, data) {
    side.sender.keep(data);
    side.sent.push(data);
  }

  /** What is on its way to the other side arrives, one message of it. */
  arrive(i) {
    const from = this.sides[i], to = this.sides[1 - i];
    if (from.way.length === 0) return;
    const message = from.way.shift();
    if (message.type === "ack") return assert.ok(to.sender.acked(message[this.unit.name], message.limit));
    let data = message, count = 1;
    if (typeof message !== "string") {
      const { payload, position } = splitTrailer(message);
      count = this.unit.countOf(payload);
      assert.equal(position, to.receiver.position + count);
      data = payload;
    }
    assert.ok(to.receiver.came(count), "within the limit");
    to.got.push(data);
    to.waiting += count;
  }

  read(side, most) {
    side.waiting -= Math.min(side.waiting, most);
    side.receiver.passedAllBut(side.waiting);
    if (side.receiver.isDue || this.random.below(4) === 0) side.way.push(side.receiver.ack());
  }

  send(side) {
    const message = next(side.sender);
    if (message !== undefined) side.way.push(message);
    return message !== undefined;
  }
}

const whole = (list) => (typeof list[0] === "string" || list.some((data) => typeof data === "string")
  ? list.map((data) => (typeof data === "string" ? data : Buffer.from(data).toString("hex"))).join("|")
  : Buffer.concat(list).toString("hex"));

test("exactly once and in order, whatever the line loses", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = generator(seed);
    const unit = random.pick([bytes, messages]);
    const line = new Line(random, unit);
    for (let step = 0; step < 400; step++) {
      const i = random.below(2), side = line.sides[i];
      switch (random.below(6)) {
        case 0:
          if (side.sender.space <= 0) break;
          line.write(side, unit === messages && random.below(2) ? `{"n":${step}}`
            : random.bytes(Math.min(random.below(8) ? random.below(40) : random.below(9000), unit === bytes ? side.sender.space : 9000)));
          break;
        case 1: case 2: line.send(side); break;
        case 3: line.arrive(i); break;
        case 4: line.read(side, random.below(2) ? Infinity : random.below(100)); break;
        default: if (random.below(20) === 0) line.connect();
      }
    }
    line.connect();
    // With a line that holds it all comes to an end.
    for (let round = 0; line.sides.some(({ sender, way, waiting }) => sender.position > sender.acknowledged || way.length || waiting); round++) {
      assert.ok(round < 5000, `seed ${seed}: it goes on for ever`);
      for (const [i, side] of line.sides.entries()) {
        line.send(side);
        line.arrive(i);
        if (side.waiting) line.read(side, Infinity);
        if (side.receiver.isWaiting) side.way.push(side.receiver.ack());
      }
    }
    for (const [i, side] of line.sides.entries()) {
      assert.equal(whole(line.sides[1 - i].got), whole(side.sent), `seed ${seed}`);
    }
  }
});

test("a drop gives everything back", () => {
  const sender = new Sender(bytes);
  sender.keep(new Uint8Array(10));
  sender.drop();
  assert.ok(!sender.isPending);
  assert.equal(sender.next(), undefined);
});
