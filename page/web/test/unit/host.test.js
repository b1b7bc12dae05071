// The worker's side with an SSH client that the test plays: who owns sessions,
// what a page gets, and what becomes of it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { WebSocket, WebSocketServer } from "ws";
import { eventually } from "../../../../client/js/test/support/wait.js";
import { load } from "../support/ts.js";

globalThis.WebSocket ??= WebSocket;
const { Host, Wire, shellWindow, SSHError } = await load("src/worker/host.ts", "src/worker/wire.ts", "src/worker/shell.ts", "src/lib/types.ts");

/** Accepts every relay, and keeps it open. */
async function startRelay(t) {
  const listener = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => "wsproxy.v1" });
  await once(listener, "listening");
  t.after(() => {
    for (const client of listener.clients) client.terminate();
    listener.close();
  });
  return `ws://127.0.0.1:${listener.address().port}`;
}

/** An SSH client that does as the test says. */
class Client {
  serverVersion = "SSH-2.0-test";
  shells = [];
  isClosed = false;
  sftp = { close: () => { this.sftp.isClosed = true; }, list: async () => [] };
  closed = new Promise((resolve) => { this.end = resolve; });

  close() {
    this.isClosed = true;
    this.end({ reason: "closed", message: "closed" });
  }

  async openShell(options, onData) {
    let end;
    const closed = new Promise((resolve) => { end = resolve; });
    const shell = {
      options, onData, written: [], sizes: [], closed, end,
      write: async (bytes) => { shell.written.push(String(Buffer.from(bytes))); },
      resize: (...size) => { shell.sizes.push(size); },
      signal: () => {}, closeInput: () => {}, close: () => end({ status: 0 }),
    };
    this.shells.push(shell);
    return shell;
  }

  async openSFTP() { return this.sftp; }
  away() {}
  async ping() { return 7; }
}

function fakeAPI(connect = async () => new Client()) {
  const api = { clients: [], connect: async (...args) => {
    const client = await connect(...args);
    api.clients.push(client);
    return client;
  } };
  return api;
}

/** A page of the host's. */
function openPage(t, host) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => { port1.close(); port2.close(); });
  host.serve(port2);
  return { worker: new Wire(port1, {}), port: port1 };
}

const options = (url, more) => ({ host: "h", user: "u", url, knownHosts: "", keepAliveSeconds: 0, label: "", ...more });

/** Its session, with what the page is told. */
async function connect(t, page, url, methods = {}, more = {}) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => { port1.close(); port2.close(); });
  const told = { states: [], ended: undefined };
  const wire = new Wire(port1, {
    token: () => null, step: () => {},
    state: (state) => { told.states.push(state); },
    ended: (ended) => { told.ended = ended; },
    ...methods,
  });
  const info = await page.worker.callWith([port2], "connect", options(url, more), port2);
  return { info, wire, told, port: port1 };
}

async function openShell(t, session, { acknowledges = true } = {}) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => { port1.close(); port2.close(); });
  const got = { bytes: 0, text: "", ended: undefined };
  const wire = new Wire(port1, {
    data: (bytes) => {
      got.bytes += bytes.length;
      got.text += Buffer.from(bytes);
      if (acknowledges) wire.tell("ack", bytes.length);
    },
    ended: (ended) => { got.ended = ended; },
  });
  const info = await session.wire.callWith([port2], "openShell", { cols: 80, rows: 24 }, port2);
  return { wire, got, info, port: port1 };
}

async function setup(t, hostOptions) {
  const [url, api] = [await startRelay(t), fakeAPI()];
  const host = new Host(Promise.resolve(api), hostOptions);
  t.after(() => { for (const client of api.clients) client.close(); });
  return { url, api, host };
}

test("a page that acknowledges nothing gets no more than the window", async (t) => {
  const { url, api, host } = await setup(t);
  const session = await connect(t, openPage(t, host), url);
  const shell = await openShell(t, session, { acknowledges: false });
  const [go] = api.clients[0].shells;
  let given = 0;
  const giving = (async () => {
    for (let i = 0; i < 100; i++) {
      await go.onData(new Uint8Array(10_000), false);
      given++;
    }
  })();
  await eventually("the window is full", () => shell.got.bytes > shellWindow - 10_000);
  for (let i = 0; i < 20; i++) await turn();
  assert.ok(shell.got.bytes <= shellWindow, `${shell.got.bytes} bytes`);
  // What is typed passes meanwhile.
  await shell.wire.call("write", new TextEncoder().encode("\u0003"));
  assert.deepEqual(go.written, ["\u0003"]);
  // And everything comes when it is acknowledged.
  let acknowledged = 0;
  await eventually("all of it", async () => {
    if (shell.got.bytes > acknowledged) shell.wire.tell("ack", shell.got.bytes - acknowledged);
    acknowledged = shell.got.bytes;
    return acknowledged === 1_000_000;
  });
  await giving;
  assert.equal(given, 100);
});

test("a page that acknowledges what it never got loses the shell, not the session", async (t) => {
  const { url, host } = await setup(t);
  const session = await connect(t, openPage(t, host), url);
  const shell = await openShell(t, session);
  shell.wire.tell("ack", 1);
  assert.equal((await shell.wire.ended).code, "protocol");
  assert.equal(await session.wire.call("ping"), 7);
});

test("bad arguments are refused", async (t) => {
  const { url, host } = await setup(t);
  const page = openPage(t, host);
  for (const bad of [{ host: "" }, { host: 7 }, { user: "" }, { port: 0 }, { port: 1.5 }, { port: 65_536 }, { jump: { host: "", user: "u" } }]) {
    await assert.rejects(connect(t, page, url, {}, bad), { code: "protocol" }, JSON.stringify(bad));
  }
  const session = await connect(t, page, url);
  const shell = await openShell(t, session);
  await assert.rejects(shell.wire.call("write", "text"), { code: "protocol" });
  for (const bad of [[0, 1], [1, 1.5], [80, 1e9], ["80", 24]]) await assert.rejects(shell.wire.call("resize", ...bad), { code: "protocol" });
  await shell.wire.call("resize", 100, 30);
});

test("a page whose port is gone loses its sessions, after a while in which another may take them", async (t) => {
  const { url, api, host } = await setup(t, { patience: 30 });
  const page = openPage(t, host), other = openPage(t, host);
  await connect(t, page, url);
  page.port.close();
  await eventually("the session has ended", () => api.clients[0].isClosed);
  assert.deepEqual(await other.worker.call("list"), []);
});

test("sessions do not outlast the last page by more than the worker does", async (t) => {
  for (const outlives of [true, false]) {
    const { url, api, host } = await setup(t, { patience: 1e9, lonely: outlives ? 30 : 1e9 });
    const [page, other] = [openPage(t, host), openPage(t, host)];
    for (const { worker } of [page, other]) await worker.call("hello", "", outlives);
    await connect(t, page, url);
    await connect(t, other, url);
    page.worker.tell("bye");
    await eventually("it is free", async () => (await other.worker.call("list")).some(({ isTaken }) => !isTaken));
    assert.ok(!api.clients[0].isClosed);
    other.worker.tell("bye");
    await eventually("both have ended", () => api.clients.every(({ isClosed }) => isClosed));
  }
});

test("another page takes a session over, with its output so far and what came meanwhile", async (t) => {
  const { url, api, host } = await setup(t);
  const [first, second] = [openPage(t, host), openPage(t, host)];
  const session = await connect(t, first, url, {}, { label: "mine" });
  const shell = await openShell(t, session);
  const [go] = api.clients[0].shells;
  const encode = (text) => new TextEncoder().encode(text);
  await go.onData(encode("before\n"), false);
  await eventually("it is there", () => shell.got.text === "before\n");
  await session.wire.call("openSFTP", new MessageChannel().port2).catch(() => {}); // can't be cloned: not of this test
  const { id } = session.info;
  const adopt = async () => {
    const { port1, port2 } = new MessageChannel();
    t.after(() => port1.close());
    const wire = new Wire(port1, { token: () => null, state: () => {}, ended: () => {} });
    return { wire, adopted: await second.worker.callWith([port2], "adopt", id, port2) };
  };
  await assert.rejects(adopt(), { code: "exists" });
  first.worker.tell("bye");
  let isTaken = true;
  await eventually("it is free", async () => {
    [{ isTaken }] = await second.worker.call("list");
    return !isTaken;
  });
  const meanwhile = go.onData(encode("meanwhile\n"), false);
  const { wire, adopted } = await adopt();
  assert.deepEqual([adopted.info.label, adopted.info.state, adopted.shells.length], ["mine", "connected", 1]);
  const got = { text: "", replayed: "" };
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const again = new Wire(port1, { data: (bytes, _, isReplay) => {
    got.text += Buffer.from(bytes);
    if (isReplay) got.replayed += Buffer.from(bytes);
    again.tell("ack", bytes.length);
  }, ended: (ended) => { got.ended = ended; } });
  await wire.callWith([port2], "attachShell", adopted.shells[0].id, port2);
  await meanwhile;
  await go.onData(encode("after\n"), false);
  await eventually("all of it", () => got.text === "before\nmeanwhile\nafter\n");
  assert.equal(got.replayed, "before\n");
  await again.call("write", encode("x"));
  assert.deepEqual(go.written, ["x"]);
  go.end({ status: 3 });
  await eventually("its end", () => got.ended?.status === 3);
});

test("a page that goes while it is asked ends what it has begun", async (t) => {
  const url = await startRelay(t);
  let answer;
  const api = fakeAPI(async (_conn, _options, hooks) => {
    answer = await hooks.ask({ kind: "password" });
    throw new SSHError("given up", "cancelled");
  });
  const host = new Host(Promise.resolve(api));
  const page = openPage(t, host);
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const asked = new Promise((resolve) => {
    new Wire(port1, { token: () => null, step: () => {}, state: () => {}, ended: () => {}, ask: () => {
      resolve();
      return new Promise(() => {});
    } });
  });
  const connecting = page.worker.callWith([port2], "connect", options(url), port2);
  connecting.catch(() => {});
  await asked;
  page.port.close();
  await eventually("the question is over", () => answer === null);
});

test("an SSH client that dies ends all, with a sentence", async (t) => {
  const { url, host } = await setup(t);
  const page = openPage(t, host);
  const session = await connect(t, page, url);
  host.fail(new SSHError("The SSH client has ended.", "worker"));
  await eventually("it is told", () => session.told.ended);
  assert.deepEqual(session.told.ended, { reason: "worker", message: "The SSH client has ended." });
  assert.equal((await page.worker.ended).code, "worker");
});

test("a server that can't be reached is told as such", async (t) => {
  const { host } = await setup(t);
  await assert.rejects(connect(t, openPage(t, host), "ws://127.0.0.1:1"), { code: "network" });
});

test("a client's answers to questions reach it, and a refused host key is a refusal", async (t) => {
  const url = await startRelay(t);
  const got = [];
  const api = fakeAPI(async (_conn, given, hooks) => {
    got.push(given.host, given.port, given.jump?.host, await hooks.ask({ kind: "password" }), await hooks.hostKey({ state: "new" }));
    return new Client();
  });
  const host = new Host(Promise.resolve(api));
  t.after(() => api.clients[0]?.close());
  await connect(t, openPage(t, host), url, { ask: () => ["secret"], hostKey: () => "nonsense" }, { jump: { host: "j", user: "u" } });
  assert.deepEqual(got, ["h", 22, "j", ["secret"], "refuse"]);
});
