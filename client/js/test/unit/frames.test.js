import assert from "node:assert/strict";
import { test } from "node:test";
import { Receiver, Sender } from "ws";
import { encodeClose, encodeFrame, FrameError, FrameReader } from "../../src/frames.js";
import { acceptOf } from "../../src/upgrade.js";
import { generator } from "../support/random.js";

const maxMessage = 5000;

/** What this module reads: messages, and at the end the code of what was wrong. */
function ours(pieces) {
  const reader = new FrameReader(maxMessage);
  const got = [];
  try {
    for (const piece of pieces) {
      for (const message of reader.push(piece)) {
        const { type, data, code, reason } = message;
        got.push(type === "close" ? [type, code, reason] : [type, Buffer.from(data).toString("latin1")]);
        if (type === "close") return got;
      }
    }
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    got.push(["error", error.code]);
  }
  return got;
}

/** The same of the package ws. */
async function theirs(pieces) {
  const receiver = new Receiver({ isServer: true, maxPayload: maxMessage, extensions: {}, binaryType: "nodebuffer", allowSynchronousEvents: true });
  const got = [];
  receiver.on("message", (data, isBinary) => got.push([isBinary ? "binary" : "text", data.toString("latin1")]));
  for (const type of ["ping", "pong"]) receiver.on(type, (data) => got.push([type, data.toString("latin1")]));
  receiver.on("conclude", (code, reason) => got.push(["close", code, String(reason)]));
  const codes = { WS_ERR_INVALID_UTF8: 1007, WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009, WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009 };
  let failed = false;
  receiver.on("error", (error) => {
    if (!failed) got.push(["error", codes[error.code] ?? 1002]);
    failed = true;
  });
  for (const piece of pieces) if (!failed) receiver.write(Buffer.from(piece));
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  const end = got.findIndex(([type]) => type === "close");
  return end < 0 ? got : got.slice(0, end + 1);
}

/** A frame as a client sends it, or nearly. */
function frame(random) {
  const isWrong = random.below(15) === 0;
  const opcode = isWrong ? random.below(16) : random.pick([0, 0, 1, 1, 2, 2, 8, 9, 10]);
  const isControl = opcode >= 8;
  let payload = random.below(3) === 0 ? random.bytes(random.below(isControl ? 126 : 300)) : Buffer.from("h\u00e9\u20ac".repeat(random.below(20)));
  if (opcode === 8) payload = random.pick([[], [3, 232], [3, 232, 0x6f, 0x6b], [15, 160, 0xff], [3], [3, 237], [7, 208], [0, 1]]);
  if (random.below(12) === 0 && !isControl) payload = new Uint8Array(random.pick([125, 126, 127, 4000, 5000, 5001, 65_535, 65_536]));
  const fin = isControl || random.below(3) > 0 ? 0x80 : 0;
  const first = opcode | (isWrong && random.below(3) === 0 ? random.pick([0x40, 0x20, 0x10]) : 0) | fin;
  const masked = isWrong && random.below(3) === 0 ? 0 : 0x80;
  const { length } = payload;
  const size = length < 126 ? [length] : length < 65_536 ? [126, length >> 8, length & 0xff] : [127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 0xff, length & 0xff];
  size[0] |= masked;
  const mask = masked ? random.bytes(4) : [0, 0, 0, 0];
  return [first, ...size, ...(masked ? mask : []), ...Array.from(payload, (byte, i) => byte ^ mask[i & 3])];
}

test("frames are understood as the package ws understands them, however they are cut", async () => {
  let messages = 0, errors = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const random = generator(seed);
    const bytes = Uint8Array.from(Array.from({ length: 1 + random.below(6) }, () => frame(random)).flat());
    const got = ours([bytes]);
    assert.deepEqual(ours(random.split(bytes)), got, `seed ${seed}, cut`);
    const want = await theirs([bytes]);
    assert.deepEqual(got, want, `seed ${seed}`);
    messages += got.length;
    if (got.at(-1)?.[0] === "error") errors++;
  }
  assert.ok(messages > 1000 && errors > 200, `${messages} messages, ${errors} errors`);
});

test("random bytes end in an error or wait for more", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = generator(seed);
    ours(random.split(random.bytes(random.below(200))));
  }
});

test("frames that are written are those of the package ws", () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    const payload = Buffer.alloc(length, 7);
    const want = Buffer.concat(Sender.frame(payload, { fin: true, rsv1: false, opcode: 2, mask: false, readOnly: true }));
    assert.deepEqual(Buffer.from(encodeFrame("binary", payload)), want);
  }
  assert.deepEqual([...encodeFrame("continuation", Uint8Array.of(1), false)], [0, 1, 1]);
  assert.deepEqual([...encodeClose(1000, "\u00e9")], [0x88, 4, 3, 232, 0xc3, 0xa9]);
  assert.deepEqual([...encodeClose()], [0x88, 0]);
});

test("the answer to a client's key", async () => {
  assert.equal(await acceptOf("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
});
