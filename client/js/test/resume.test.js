// Relays whose sessions outlive their WebSocket, with a server that the test
// plays and lines that break. Tunnels are in resume-tunnel.test.js.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { startCutter } from "./support/cutter.js";
import { openPage } from "./support/place.js";
import { generator } from "./support/random.js";
import { connect, isResumed, outcomeOf, read, told, write } from "./support/relay.js";
import { startResumer } from "./support/resumer.js";
import { eventually, inTime } from "./support/wait.js";

const KiB = 1024, MiB = 1024 * KiB;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Writes and reads at once, with an echo at the other end. */
const echoed = (page, length) => page.run(async (page, length) => {
  const { relay } = page.state;
  const sent = page.randomBytes(length);
  const writing = (async () => {
    const writer = relay.writable.getWriter();
    for (let at = 0, i = 0; at < length; i++) {
      const size = [1, 10, 1000, 20_000, 100_000][i % 5];
      await writer.write(sent.subarray(at, at + size));
      at += size;
    }
    await writer.close();
  })();
  const received = await page.readAll(relay.readable);
  await writing;
  return { sent: await page.sha256(sent), received: await page.sha256(received), length: received.length, closed: await page.outcome(relay.closed) };
}, length);

const echo = (server) => {
  server.onSession = (session) => session.on("message", (data) => session.send(data)).on("eof", () => session.sendEnd());
};

for (const how of ["fin", "rst", "silence"]) {
  test(`the streams go on after ${how}`, async (t) => {
    const { server, page, line, session } = await connect(t, { isCut: true });
    const came = [];
    session.on("message", (data) => came.push(data));
    await write(page, "before");
    session.send(Buffer.from("hello"));
    assert.equal(await read(page, 5), "hello");
    const start = Date.now();
    assert.equal(line.cut(how), 1);
    session.send(Buffer.from("meanwhile"));
    await write(page, "after");
    assert.equal(await read(page, 9), "meanwhile");
    await eventually("what was written arrives", () => String(Buffer.concat(came)) === "beforeafter");
    assert.ok(Date.now() - start < 5000, `it took ${Date.now() - start} ms`);
    const got = await told(page);
    assert.deepEqual(got.detached.map(({ name, code }) => [name, code]), [["WsproxyError", 1006]]);
    assert.equal(got.resumed.length, 1);
    assert.ok(got.resumed[0].away >= 0);
    assert.deepEqual([...got.states, got.state], ["detached", "connected", "connected"]);
    // Neither token is in a URL, that of the user is another one each time, and nothing but positions is asked for.
    const [first, second] = server.requests;
    assert.deepEqual(first.protocols, ["wsproxy.v1", "wsproxy.resume", "bearer.token-0"]);
    assert.deepEqual(second.protocols, ["wsproxy.resume", `resume.${session.token}`, "bearer.token-1"]);
    assert.deepEqual(second.query, { bytes: how === "silence" ? "5" : second.query.bytes, attempt: "1" });
  });
}

test("every byte comes once and in order, however often the line is cut", async (t) => {
  for (const seed of [1, 2]) {
    const random = generator(seed);
    let count = 0;
    const plan = () => {
      count++;
      // Within the handshake, behind it, and far behind it.
      const most = count % 5 === 0 ? 1000 : 400_000;
      return { direction: random.pick(["up", "down"]), bytes: 1 + random.below(most), how: count % 8 === 4 ? "silence" : random.pick(["fin", "rst"]) };
    };
    const { page, line, server } = await connect(t, {
      cutter: plan, resumer: { limit: 256 * KiB, chance: () => random.below(1000) / 1000 },
    });
    const { last } = server;
    last.on("message", (data) => last.send(data)).on("eof", () => last.sendEnd());
    const got = await echoed(page, 3 * MiB);
    assert.equal(got.length, 3 * MiB, `seed ${seed}`);
    assert.equal(got.received, got.sent, `seed ${seed}`);
    assert.deepEqual(got.closed.value, { code: 1000, reason: "" }, `seed ${seed}`);
    assert.deepEqual(server.sessions.map(({ failure }) => failure).filter(Boolean), []);
    assert.ok(line.cuts.fin + line.cuts.rst > 10, JSON.stringify(line.cuts));
  }
});

test("a session begins anew that was cut before it began", async (t) => {
  const page = await openPage(t);
  const server = await startResumer(t);
  echo(server);
  let count = 0;
  const cutter = await startCutter(t, server, () => (count++ < 3 ? { direction: "down", bytes: 129 + 60 * count, how: "rst" } : undefined));
  const got = await page.run(async (page, url) => {
    page.state.relay = await page.connectRelay({ url, host: "h", port: 1 });
  }, cutter.url).then(() => echoed(page, 1000));
  assert.equal(got.received, got.sent);
});

test("a close in the middle of a message that makes it look whole is seen", async (t) => {
  const { page, session } = await connect(t, { isCut: false });
  session.send(Buffer.from("one"));
  assert.equal(await read(page, 3), "one");
  for (const data of [Buffer.from("x"), Buffer.from("wrongwrong"), Buffer.concat([Buffer.from("two"), Buffer.from([0, 0, 0, 0, 0, 0, 0, 5])]), '{"type":"ack","by']) {
    const before = (await told(page)).resumed.length;
    session.sayRaw(data);
    await isResumed(page, before + 1);
  }
  session.send(Buffer.from("two"));
  assert.equal(await read(page, 3), "two");
});

test("which closes are the end, and which are not", async (t) => {
  for (const code of [1001, 1012, 4000]) {
    const { page, session } = await connect(t);
    session.close(code);
    await isResumed(page);
    assert.equal((await told(page)).detached[0].code, code);
  }
  for (const code of [1008, 1009, 1011, 4001]) {
    const { page, session } = await connect(t);
    session.close(code);
    const { error } = await outcomeOf(page);
    assert.equal(error.name, "WsproxyError");
    assert.equal(error.code, code);
    const got = await told(page);
    assert.deepEqual([got.detached, got.state], [[], "closed"]);
  }
});

test("the server says that the session is over", async (t) => {
  for (const code of [4404, 4409]) {
    const { page, server, session } = await connect(t);
    server.onRequest = (socket) => {
      socket.close(code, "over");
      return true;
    };
    session.drop();
    const { error } = await outcomeOf(page);
    assert.deepEqual([error.name, error.code, error.reason], ["WsproxyError", code, "over"]);
    assert.match(error.message, code === 4404 ? /session is over/ : /can't be continued/);
    const [reading, writing] = await page.run(async (page) => {
      const { relay } = page.state;
      return [await page.outcome(relay.readable.getReader().read()), await page.outcome(relay.writable.getWriter().write(page.encode("x")))];
    });
    assert.deepEqual([reading.error.code, writing.error.code], [code, code]);
    assert.equal(server.requests.length, 2);
  }
});

test("attempts go on, each with a higher number, until it is taken up", async (t) => {
  const { page, server, session } = await connect(t);
  const answers = [(socket) => socket.close(4001), (socket) => socket.send("{}"), (socket) => socket.close(1011)];
  server.onRequest = (socket) => {
    const answer = answers.shift();
    answer?.(socket);
    return answer !== undefined;
  };
  session.drop();
  await isResumed(page);
  assert.deepEqual(server.requests.slice(1).map(({ query }) => query.attempt), ["1", "2", "3", "4"]);
  session.send(Buffer.from("here"));
  assert.equal(await read(page, 4), "here");
});

test("a token that can't be had is asked for again", async (t) => {
  const { page, session } = await connect(t);
  const got = await page.run(async (page) => {
    const { state } = page;
    state.tokens = "x y"; // not a token's characters the first time
    await page.until(() => state.detached.length > 0);
    return state.detached.length;
  }, session.drop());
  assert.equal(got, 1);
  await page.run(({ state }) => { state.tokens = 7; });
  await isResumed(page);
});

test("it is given up after the server's time-out", async (t) => {
  const { page, server, session } = await connect(t, { resumer: { timeout: 0.5 } });
  server.onRequest = (socket) => {
    socket.terminate();
    return true;
  };
  session.drop();
  const { error } = await outcomeOf(page);
  assert.deepEqual([error.name, error.code, error.reason], ["WsproxyError", 1006, "resume_timeout"]);
  assert.match(error.message, /could not be reached again in time/);
});

test("a page that does not read holds its target up", async (t) => {
  const maxUnread = 300_000;
  const { page, session } = await connect(t, { relay: { maxUnread } });
  const bytes = randomBytes(2 * MiB);
  session.send(bytes);
  await eventually("the limit is told", () => session.mayBeSent === maxUnread);
  session.drop();
  await isResumed(page);
  assert.equal(session.mayBeSent, maxUnread);
  assert.equal(session.acknowledged, 0);
  const first = await page.run(async ({ state }) => {
    state.reader = state.relay.readable.getReader();
    state.chunks = [(await state.reader.read()).value];
    return state.chunks[0].length;
  });
  await eventually("what was read is acknowledged", () => session.acknowledged === first);
  assert.equal(session.mayBeSent, maxUnread + first);
  const got = await page.run(async (page, length) => {
    const { state } = page;
    let rest = length - state.chunks[0].length;
    while (rest > 0) {
      state.chunks.push((await state.reader.read()).value);
      rest -= state.chunks.at(-1).length;
    }
    return page.sha256(new Uint8Array(await new Blob(state.chunks).arrayBuffer()));
  }, bytes.length);
  assert.equal(got, digest(bytes));
  await eventually("all is acknowledged", () => session.acknowledged === bytes.length);
});

test("a target that does not read holds the page up within the limit", async (t) => {
  const { page, session } = await connect(t, { resumer: { limit: 200_000 } });
  session.holds = true;
  const hash = createHash("sha256");
  session.on("message", (data) => hash.update(data));
  await page.run(async (page) => {
    const { state } = page;
    state.sent = page.randomBytes(1_000_000);
    state.writing = page.writeAll(state.relay.writable, state.sent, 30_000);
  });
  await eventually("the limit is used up", () => session.received === 200_000);
  session.drop();
  await isResumed(page);
  const start = Date.now(); // it is asked meanwhile, and answers: a full window is no dead line
  await page.run(({ until }, start) => until(() => Date.now() - start > 4500), start);
  assert.equal((await told(page)).resumed.length, 1);
  assert.equal(session.received, 200_000);
  const end = once(session, "eof");
  session.release();
  await inTime("the end", end);
  const sent = await page.run(async (page) => page.sha256(page.state.sent));
  assert.equal(hash.digest("hex"), sent);
  await page.run(({ state }) => state.writing);
  assert.ok(session.most <= 200_000);
});

test("closing writable is a half-close", async (t) => {
  const { page, session } = await connect(t, { relay: { allowHalfOpen: true } });
  const ended = once(session, "eof");
  await page.run((page) => page.writeAll(page.state.relay.writable, page.encode("all of it"), 4));
  await inTime("the end of the page's side", ended);
  assert.equal(session.received, 9);
  session.drop(); // an end is told again
  await isResumed(page);
  session.send(Buffer.from("an answer"));
  session.sendEnd();
  const text = await page.run((page) => page.readText(page.state.relay.readable));
  assert.equal(text, "an answer");
  assert.deepEqual((await outcomeOf(page)).value, { code: 1000, reason: "" });
});

test("the target's end is that of both directions, unless it is allowed to be half open", async (t) => {
  for (const allowHalfOpen of [false, true]) {
    const { page, session } = await connect(t, { relay: { allowHalfOpen } });
    session.send(Buffer.from("bye"));
    session.sendEnd();
    assert.equal(await page.run((page) => page.readText(page.state.relay.readable)), "bye");
    if (allowHalfOpen) {
      const came = once(session, "message");
      await write(page, "late");
      assert.equal(String((await inTime("what is written after the end", came))[0]), "late");
      await page.run(({ state }) => state.writer.close());
    }
    assert.deepEqual((await outcomeOf(page)).value, { code: 1000, reason: "" });
    if (allowHalfOpen) continue;
    const { error } = await page.run((page) => page.outcome(page.state.relay.writable.getWriter().write(page.encode("x"))));
    assert.equal(error.name, "WsproxyError");
  }
});

test("cancelling readable delivers what was written, and closes; aborting does not", async (t) => {
  for (const [how, code] of [["cancel", 1000], ["abort", 3000]]) {
    const { page, session } = await connect(t);
    const ended = once(session, "end");
    await page.run(async (page, how) => {
      const { relay } = page.state;
      const writer = relay.writable.getWriter();
      await writer.write(page.encode("QUIT"));
      if (how === "cancel") await relay.readable.cancel();
      else await writer.abort(new RangeError("no more"));
    }, how);
    assert.deepEqual((await inTime("the end", ended))[0], { code });
    assert.equal(session.received, 4);
    const { value, error } = await outcomeOf(page);
    if (how === "cancel") assert.deepEqual(value, { code: 1000, reason: "" });
    else assert.equal(error.message, "no more");
  }
});

test("a close that was lost on its way is said again", async (t) => {
  const { page, server, session } = await connect(t, { isCut: true });
  session.holds = true;
  const ended = once(session, "end");
  server.onRequest = (socket) => {
    if (server.requests.length > 3) return false;
    socket.terminate();
    return true;
  };
  session.drop();
  await page.run(async (page) => {
    const { relay } = page.state;
    await page.until(() => relay.state === "detached");
    const writer = relay.writable.getWriter();
    await writer.write(page.encode("last words"));
    relay.readable.cancel();
  });
  assert.deepEqual((await inTime("the end", ended))[0], { code: 1000 });
  assert.equal(session.received, 10);
  assert.deepEqual((await outcomeOf(page)).value, { code: 1000, reason: "" });
});

test("a detached session that is aborted is ended in the background", async (t) => {
  const { page, session } = await connect(t);
  const ended = once(session, "end");
  session.drop();
  const got = await page.run(async (page) => {
    const { relay } = page.state;
    await page.until(() => relay.state === "detached");
    await relay.writable.getWriter().abort(new RangeError("no more"));
    return page.outcome(relay.closed);
  });
  assert.equal(got.error.message, "no more");
  assert.deepEqual((await inTime("the end", ended))[0], { code: 3000 });
});

test("a server that does what it may not", async (t) => {
  const wrong = [
    [(session) => session.sayRaw('{"type":"ack","bytes":1,"limit":100000}'), /an acknowledgement of what was not sent/],
    [(session) => session.sayRaw('{"type":"ack","bytes":-1,"limit":100000}'), /an acknowledgement/],
    [(session) => session.sayRaw('{"type":"ack","bytes":0}'), /an acknowledgement/],
    [(session) => session.sayRaw('{"type":"tcp_open"}'), /a kind that a relay does not have/],
    [(session) => session.sayRaw("5"), /a kind that a relay does not have/],
    [(session) => session.sayRaw('{"type":"session","resume":"x","timeout":1,"limit":1}'), /no beginning/],
    [(session) => {
      session.mayBeSent = 400_000;
      session.send(Buffer.alloc(400_000));
    }, /more than it may/],
    [(session) => {
      session.sayRaw('{"type":"eof"}');
      session.send(Buffer.alloc(1));
    }, /something behind its end/],
  ];
  for (const [what, sentence] of wrong) {
    const { page, session } = await connect(t, { relay: { maxUnread: 100_000, allowHalfOpen: true } });
    const ended = once(session, "end");
    what(session);
    const { error } = await outcomeOf(page);
    assert.equal(error.name, "WsproxyError");
    assert.match(error.message, sentence);
    assert.deepEqual((await inTime("the end", ended))[0], { code: 3002 });
  }
});

test("questions are answered, and unknown servers get plain sessions", async (t) => {
  const { session } = await connect(t);
  const pong = once(session, "pong");
  session.sayRaw('{"type":"ping"}');
  await inTime("pong", pong);
  const other = await connect(t, { relay: { resume: false } });
  assert.ok(other.server.requests[0].protocols.includes("wsproxy.v1"));
  assert.ok(!other.server.requests[0].protocols.includes("wsproxy.resume"));
});
