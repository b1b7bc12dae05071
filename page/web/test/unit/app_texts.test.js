import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

const { parsePlace, formatPlace } = await load("src/app/deep_link.ts");
const { clipboardText } = await load("src/app/terminal/osc52.ts");
const { pasteable, runsByItself } = await load("src/app/terminal/paste.ts");

test("links and pasted places are read", () => {
  const cases = {
    "#ssh://ada@host.example:2222": { user: "ada", host: "host.example", port: 2222 },
    "#ssh://host.example": { user: "", host: "host.example", port: 22 },
    "#ssh://ada:secret@host": { user: "ada", host: "host", port: 22, password: "secret" },
    "#ssh://ada;fingerprint=x@host": { user: "ada", host: "host", port: 22 },
    "#ssh://ada@[2001:db8::1]:22/": { user: "ada", host: "2001:db8::1", port: 22 },
    "#ssh%3A%2F%2Fada%40host": { user: "ada", host: "host", port: 22 },
    "ada@host:22": { user: "ada", host: "host", port: 22 },
    "2001:db8::1": { user: "", host: "2001:db8::1", port: 22 },
    host: { user: "", host: "host", port: 22 },
  };
  for (const [text, place] of Object.entries(cases)) assert.deepEqual(parsePlace(text), place, text);
  for (const text of ["#", "", "#settings", "#ssh://", "#ssh://a@b:0", "#ssh://a@b:99999", "#ssh://a b@c", "#%", "a<b"]) {
    assert.equal(parsePlace(text), undefined, text);
  }
});

test("places are written as people write them", () => {
  assert.equal(formatPlace({ user: "ada", host: "h", port: 22, password: "x" }), "ada@h");
  assert.equal(formatPlace({ user: "", host: "::1", port: 2222 }), "[::1]:2222");
});

test("OSC 52 gives text to write, and never a question for it", () => {
  assert.equal(clipboardText(`c;${btoa("hello")}`), "hello");
  assert.equal(clipboardText(`;${Buffer.from("grün").toString("base64")}`), "grün");
  for (const data of ["c;?", "c;", "c", "c;%%%", "x;aGk=", `c;${"A".repeat(2 << 20)}`]) assert.equal(clipboardText(data), undefined);
});

test("a paste holds no keys", () => {
  assert.equal(pasteable("a\x1b[201~b\r\nc\td\x03"), "a[201~b\nc\td");
  assert.ok(runsByItself("a\nb", false));
  assert.ok(!runsByItself("a\n", false));
  assert.ok(!runsByItself("a\nb", true));
});
