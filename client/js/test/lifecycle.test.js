// What a browser does to a page with a session that outlives its WebSocket, and
// what it tells it. The table in docs/protocol.md, "Pages", was measured; what of
// it a test can see is here.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { startCutter } from "./support/cutter.js";
import { inBrowser, openPage } from "./support/place.js";
import { startResumer } from "./support/resumer.js";
import { eventually, inTime } from "./support/wait.js";

/** A page with a relay, which notes what it is told. */
async function connect(t) {
  const page = await openPage(t);
  const server = await startResumer(t);
  const line = await startCutter(t, server);
  await page.run(async (page, url) => {
    const { state } = page;
    Object.assign(state, { detached: 0, resumed: [] });
    state.relay = await page.connectRelay({
      url, host: "h", port: 1,
      onDetached: () => state.detached++,
      onResumed: ({ away }) => state.resumed.push(away),
    });
    state.writer = state.relay.writable.getWriter();
    state.reader = state.relay.readable.getReader();
  }, line.url);
  const { last: session } = server;
  return { page, tab: page.tab, server, line, session };
}

const write = (page, text) => page.run(({ state, encode }, text) => state.writer.write(encode(text)), text);
const isResumed = (page) => page.run(({ state, until }) => until(() => state.resumed.length > 0));

if (inBrowser) {
  test("a page that is left for good ends its session", async (t) => {
    const leave = {
      reloaded: ({ tab }) => tab.reload(),
      closed: ({ tab }) => tab.close(),
      "closed, with its handlers": ({ tab }) => tab.close({ runBeforeUnload: true }),
    };
    for (const [how, act] of Object.entries(leave)) {
      const got = await connect(t);
      await write(got.page, "half");
      const ended = once(got.session, "end");
      await act(got);
      assert.deepEqual((await inTime("the end", ended))[0], { code: 3000 }, how);
    }
  });

  test("one whose side has ended says so", async (t) => {
    const { page, tab, session } = await connect(t);
    await write(page, "whole");
    const done = once(session, "eof");
    await page.run(({ state }) => void state.writer.close());
    await done;
    const ended = once(session, "end");
    await tab.reload();
    assert.deepEqual((await inTime("the end", ended))[0], { code: 1000 });
  });

  test("a page in the back/forward cache comes back with its session", async (t) => {
    const { page, tab, server, session } = await connect(t);
    await write(page, "before");
    const before = tab.url();
    await tab.goto(`${before}wsproxy.d.ts`);
    await eventually("it is detached", () => !session.isAttached);
    assert.equal(session.end, undefined);
    session.send(Buffer.from("meanwhile"));
    await tab.evaluate(() => history.back()).catch(() => {}); // the page that asks is gone
    await tab.waitForFunction(() => globalThis.page?.state.resumed.length > 0);
    const text = await page.run(async ({ state }) => new TextDecoder().decode((await state.reader.read()).value));
    assert.equal(text, "meanwhile");
    assert.equal(server.requests.length, 2);
    assert.equal(await page.run(({ state }) => state.detached), 1);
  });

  for (const [name, code, most] of [
    ["online", () => dispatchEvent(new Event("online")), 5000],
    ["visibilitychange", () => document.dispatchEvent(new Event("visibilitychange")), 5000],
    ["resume", () => document.dispatchEvent(new Event("resume")), 5000],
  ]) {
    test(`${name}: asks whether a line that nobody uses still leads anywhere`, async (t) => {
      const { page, line } = await connect(t);
      line.cut("silence");
      const start = Date.now();
      await page.run(code);
      await isResumed(page);
      assert.ok(Date.now() - start < most, `${Date.now() - start} ms`);
    });

    test(`${name}: tries at once`, async (t) => {
      const { page, server, session } = await connect(t);
      let isAway = true;
      server.onRequest = (socket) => {
        if (isAway) socket.terminate();
        return isAway;
      };
      session.drop();
      // The pause behind the fifth attempt is 3.2 s at least.
      await eventually("five attempts", () => server.requests.length === 6);
      isAway = false;
      const start = Date.now();
      await page.run(({ state }) => state.relay.state); // the failure has arrived
      await page.run(code);
      await isResumed(page);
      assert.ok(Date.now() - start < 3000, `${Date.now() - start} ms`);
    });
  }

  test("it works in a worker, which is ended without a word", async (t) => {
    const page = await openPage(t);
    const server = await startResumer(t);
    const states = await page.run(async (page, url) => {
      const code = `import { connectRelay } from "${location.origin}/wsproxy.js";
        const relay = await connectRelay({ url: "${url}", host: "h", port: 1, onResumed: () => postMessage("resumed") });
        postMessage(relay.state);`;
      const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
      page.state.worker = worker;
      page.state.words = [];
      worker.onmessage = ({ data }) => page.state.words.push(data);
      worker.onerror = (event) => page.state.words.push(event.message);
      await page.until(() => page.state.words.length > 0);
      return page.state.words;
    }, server.url);
    assert.deepEqual(states, ["connected"]);
    server.last.drop();
    await page.run(({ state, until }) => until(() => state.words.includes("resumed")));
    await page.run(({ state }) => state.worker.terminate());
    await eventually("it is detached", () => !server.last.isAttached);
    assert.equal(server.last.end, undefined);
  });
}
