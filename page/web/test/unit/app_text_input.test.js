import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

const { SentText } = await load("src/app/terminal/text_input.ts");

test("each character is sent once", () => {
  const text = new SentText();
  assert.equal(text.changed("h"), "h");
  assert.equal(text.changed("he"), "e");
  assert.equal(text.changed("he"), "");
  assert.equal(text.changed("hello "), "llo ");
});

test("a corrected word is taken back as far as it differs", () => {
  const text = new SentText();
  text.changed("say teh");
  assert.equal(text.changed("say the "), "\x7f\x7fhe ");
});

test("deleting deletes, whole words too", () => {
  const text = new SentText();
  text.changed("one two");
  assert.equal(text.changed("one tw"), "\x7f");
  assert.equal(text.changed(""), "\x7f".repeat(6));
});

test("a character outside the first plane is one", () => {
  const text = new SentText();
  assert.equal(text.changed("a😀"), "a😀");
  assert.equal(text.changed("a"), "\x7f");
});

test("a line's end is what the Enter key sends", () => {
  assert.equal(new SentText().changed("ls\n"), "ls\r");
});

test("text that came otherwise is not sent", () => {
  const text = new SentText();
  text.synced("abc");
  assert.equal(text.changed("abcd"), "d");
});
