import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { bytesOf, decodeText, encodeText, fromBase64, fromByteString, toBase64, toByteString } from "../../src/bytes.js";

test("base64 of all lengths, there and back", () => {
  for (const length of [0, 1, 2, 3, 255, 0x7fff, 0x8000, 0x8001, 1 << 20]) {
    const bytes = randomBytes(length);
    const text = toBase64(new Uint8Array(bytes));
    assert.equal(text, bytes.toString("base64"));
    assert.deepEqual(Buffer.from(fromBase64(text)), bytes);
  }
});

test("text is text only if it stays the same", () => {
  for (const text of ["", "plain", "h\u00e9 \u{1F600}", "\uFEFFwith a byte order mark", "\u0000"]) {
    assert.equal(decodeText(encodeText(text)), text);
  }
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0x61, 0x80]]) {
    assert.equal(decodeText(Uint8Array.from(bytes)), undefined);
  }
});

test("header values keep their bytes", () => {
  for (const [text, value] of [["plain", "plain"], ["h\u00e9", "h\u00c3\u00a9"], ["\u20ac", "\u00e2\u0082\u00ac"]]) {
    assert.equal(toByteString(text), value);
    assert.equal(fromByteString(value), text);
  }
  assert.equal(fromByteString("h\u00e9"), "h\u00e9"); // not UTF-8
});

test("views are not copied and not widened", () => {
  const { buffer } = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7);
  assert.deepEqual([...bytesOf(buffer)], [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual([...bytesOf(new DataView(buffer, 2, 3))], [2, 3, 4]);
  assert.deepEqual([...bytesOf(new Uint16Array(buffer, 4, 1))], [4, 5]);
  assert.equal(bytesOf(new Uint8Array(buffer, 1)).buffer, buffer);
  for (const other of ["text", 5, null, undefined, [1, 2], {}]) assert.throws(() => bytesOf(other), TypeError);
});
