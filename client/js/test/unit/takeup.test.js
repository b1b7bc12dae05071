import assert from "node:assert/strict";
import { test } from "node:test";
import { TakeUp } from "../../src/takeup.js";

/** Attempts at a server that the test plays, in time that the test makes. */
function start(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { WebSocket } = globalThis;
  t.after(() => { globalThis.WebSocket = WebSocket; });
  const server = { isThere: true, attempts: 0 };
  globalThis.WebSocket = class {
    constructor() {
      server.attempts++;
      queueMicrotask(() => (server.isThere ? this.onmessage({ data: "" }) : this.onclose({ code: 1006, reason: "" })));
    }
    close() {}
  };
  const takeUp = new TakeUp({
    address: new URL("ws://x/relay"), session: "s", position: () => ({}), taken: () => true,
  });
  const pass = async (milliseconds) => {
    for (; milliseconds > 0; milliseconds -= 50) {
      t.mock.timers.tick(50);
      for (let i = 0; i < 20; i++) await null;
    }
  };
  /** How long it takes to be there again, in milliseconds, with a server that is away for so long. */
  const lose = async (away) => {
    const begin = Date.now();
    let isBack = false;
    server.isThere = away === 0;
    takeUp.run(0, () => 900_000, new AbortController().signal).then(() => { isBack = true; });
    await pass(away);
    for (server.isThere = true; !isBack;) await pass(50);
    return Date.now() - begin;
  };
  return { takeUp, lose, pass };
}

test("after a loss that took long the next one waits, unless something came", async (t) => {
  const { takeUp, lose } = start(t);
  await lose(20_000);
  assert.ok(await lose(0) > 1000);
  takeUp.progressed();
  assert.ok(await lose(0) <= 150);
});

test("or the WebSocket has lived for long, with nothing to say", async (t) => {
  const { lose, pass } = start(t);
  await lose(20_000);
  await pass(11_000);
  assert.ok(await lose(0) <= 150);
});
