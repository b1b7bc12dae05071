import assert from "node:assert/strict";
import { test } from "node:test";
import { connectRelay, openTunnel, WsproxyError } from "../../wsproxy.js";

/** Gives globals other values until the end of the test. */
function replace(t, globals) {
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => {
      if (before) Object.defineProperty(globalThis, name, before);
      else delete globalThis[name];
    });
  }
}

async function failure(url) {
  const errors = await Promise.all([
    openTunnel({ url, reconnect: true }), connectRelay({ url, host: "h", port: 1 }),
  ].map((opening) => opening.then(() => assert.fail("it opened"), (error) => error)));
  for (const error of errors) {
    assert.ok(error instanceof WsproxyError, error.stack);
    assert.equal(error.code, 1006);
    assert.equal(error.message, errors[0].message);
  }
  return errors[0];
}

test("a Node without WebSocket says how to get one", async (t) => {
  replace(t, { WebSocket: undefined });
  const { message } = await failure("ws://127.0.0.1:1");
  assert.match(message, /Node has one from version 22 on/);
  assert.match(message, /`node --experimental-websocket`/);
  assert.match(message, /globalThis\.WebSocket/);
  assert.doesNotMatch(message, /browser|https/);
});

test("a WebSocket that can't be made", async (t) => {
  class Failing {
    constructor() { throw new SyntaxError("no"); }
  }
  replace(t, { WebSocket: Failing });
  const error = await failure("wss://p.example.com/x?y=z");
  assert.equal(error.message, "no WebSocket could be made for wss://p.example.com");
  assert.equal(error.cause.message, "no");
  replace(t, { location: new URL("https://app.example.com/") });
  assert.match((await failure("ws://p.example.com")).message, /wss only/);
});
