// Logging in and shells, in a real Chromium against a real sshd.
import assert from "node:assert/strict";
import { randomBytes, createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { startCutter } from "../../../client/js/test/support/cutter.js";
import { closedPort, startTarget } from "../../../client/js/test/support/peers.js";
import { startServer } from "../../../client/js/test/support/server.js";
import { eventually } from "../../../client/js/test/support/wait.js";
import { connect, options, openShell, setup } from "./support/session.js";
import { newKey, startSSHD } from "./support/sshd.js";

test("a password opens a shell, which has the terminal's size", async (t) => {
  const { page, sshd, line } = await setup(t);
  const told = await connect(page, options(sshd, line), { answers: { password: [[sshd.password]] } });
  assert.equal(told.state, "connected");
  assert.deepEqual(told.noted.steps, ["relay", "version", "keyexchange", "authentication", "ready"]);
  assert.equal(told.noted.questions.length, 1);
  assert.equal(told.noted.hostKeys[0].state, "new");
  assert.match(told.noted.hostKeys[0].fingerprint, /^SHA256:/);
  await openShell(page, { cols: 91, rows: 33 });
  const size = await page.run(async ({ state }) => {
    await state.shell.write("stty size; echo done-$((1+1))\r");
    const first = await state.out.until("done-2");
    state.shell.resize(120, 40);
    await state.shell.write("stty size; echo done-$((2+2))\r");
    return [first, await state.out.until("done-4")];
  });
  assert.match(size[0], /\r33 91\r/);
  assert.match(size[1], /\r40 120\r/);
  const closed = await page.run(async ({ state }) => {
    await state.shell.write("exit 7\r");
    return state.shell.closed;
  });
  assert.equal(closed.status, 7);
  const ended = await page.run(async ({ state }) => {
    state.session.close();
    return state.session.ended;
  });
  assert.equal(ended.reason, "closed");
});

test("keys log in: OpenSSH's, PEM, encrypted, and one made in the page", async (t) => {
  const { page, sshd, line } = await setup(t);
  const pem = newKey(sshd.path("pem"), "pem", { type: "rsa", format: "PEM" });
  const locked = newKey(sshd.path("locked"), "locked", { passphrase: "open sesame" });
  const made = await page.run(({ generateKey }) => generateKey({ comment: "made here", passphrase: "secret" }));
  writeFileSync(`${sshd.home}/.ssh/authorized_keys`, [sshd.publicKey, pem.publicKey, locked.publicKey, made.publicKey].join("\n"));
  for (const [key, answers] of [
    [{ privateKey: sshd.privateKey }, {}],
    [{ privateKey: pem.privateKey }, {}],
    [{ privateKey: locked.privateKey, passphrase: "open sesame" }, {}],
    [{ privateKey: locked.privateKey }, { passphrase: [["wrong"], ["open sesame"]] }],
    [{ privateKey: made.privateKey, passphrase: "secret" }, {}],
  ]) {
    const told = await connect(page, { ...options(sshd, line), keys: [key] }, { answers });
    assert.equal(told.noted.questions.length, answers.passphrase ? 2 : 0);
    await page.run(async ({ state }) => {
      state.session.close();
      await state.session.ended;
    });
  }
  const told = await page.run(async ({ describeKey, fingerprint }, { locked, made }) => [
    await describeKey(locked.privateKey), await describeKey(made.publicKey), await fingerprint(made.publicKey),
  ], { locked, made });
  assert.deepEqual([told[0].encrypted, told[0].type, told[1].fingerprint, told[2]], [true, "ssh-ed25519", made.fingerprint, made.fingerprint]);
});

test("20 MB of output come whole, and what is typed passes meanwhile", async (t) => {
  const { page, sshd, line } = await setup(t);
  const bytes = Buffer.from(randomBytes(15 << 20).toString("base64").replace(/(.{76})/g, "$1\n"));
  writeFileSync(`${sshd.home}/big`, bytes);
  const hash = createHash("sha256").update(bytes).digest("hex");
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  const got = await page.run(async ({ state, sha256 }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24, command: "stty raw -echo; cat big" });
    const parts = [];
    let frames = 0, longest = 0, last = performance.now();
    const look = () => { // the page is not to freeze
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      frames++;
      if (!state.done) setTimeout(look, 10);
    };
    look();
    const began = performance.now();
    shell.onData = (bytes) => { parts.push(bytes); };
    await shell.closed;
    state.done = true;
    const all = new Uint8Array(await new Blob(parts).arrayBuffer());
    return { length: all.length, hash: await sha256(all), ms: performance.now() - began, longest, frames };
  });
  t.diagnostic(`${Math.round(got.length / got.ms / 1000)} MB/s, longest pause of the page ${Math.round(got.longest)} ms`);
  assert.deepEqual([got.length, got.hash], [bytes.length, hash]);
  // A terminal that takes its time still has its Ctrl-C heard at once.
  const stopped = await page.run(async ({ state }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24 });
    let bytes = 0;
    const waiting = [];
    let isSlow = true, text = "";
    shell.onData = (piece) => {
      bytes += piece.length;
      text = (text + new TextDecoder().decode(piece)).slice(-2000);
      return isSlow ? new Promise((resolve) => waiting.push(resolve)) : undefined;
    };
    const until = async (condition) => { while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5)); };
    await shell.write("while :; do cat big; done\r");
    for (let last = -1; last !== bytes || bytes < 100_000;) {
      last = bytes;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const held = bytes;
    await shell.write("\u0003");
    isSlow = false;
    for (const resolve of waiting) resolve();
    await until(() => /\$ $/.test(text));
    await shell.write("echo still-$((40+2))\r");
    await until(() => text.includes("still-42"));
    shell.close();
    return { held, bytes };
  });
  t.diagnostic(`held up at ${stopped.held} bytes, ${stopped.bytes} in all`);
  assert.ok(stopped.held <= 256 << 10, `${stopped.held} bytes without an acknowledgement`);
});

test("1 MB is pasted without a lost byte", async (t) => {
  const { page, sshd, line } = await setup(t);
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  const length = await page.run(async ({ state, screen }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24, command: "stty raw -echo; echo ready; head -c 1000000 | sha256sum" });
    const out = screen(shell);
    await out.until("ready");
    const text = "0123456789".repeat(100_000);
    await shell.write(text);
    await shell.closed;
    return out.text;
  });
  assert.ok(length.includes(createHash("sha256").update("0123456789".repeat(100_000)).digest("hex")), length);
});

test("the network is gone for some seconds, and the shell goes on where it was", async (t) => {
  const { page, sshd, server } = await setup(t);
  let isGone = false;
  const line = await startCutter(t, server, () => (isGone ? { direction: "up", bytes: 0, how: "rst" } : undefined));
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  await openShell(page);
  await page.run(async ({ state }) => {
    state.events = [];
    state.session.on("state", (name) => state.events.push(name));
    state.session.on("resumed", ({ away }) => state.events.push(away));
    await state.shell.write("for i in $(seq 1 40); do echo line-$i; sleep 0.1; done; echo all-$((1+1))\r");
    await state.out.until("line-3");
  });
  isGone = true;
  line.cut("rst");
  // Until it has tried for some seconds.
  const gone = await page.run(async ({ state }) => {
    while (state.session.away < 4000) await new Promise((resolve) => setTimeout(resolve, 20));
    return { state: state.session.state, text: state.out.text };
  });
  assert.equal(gone.state, "detached");
  assert.ok(!gone.text.includes("all-2"));
  isGone = false;
  const got = await page.run(async ({ state }) => {
    const text = await state.out.until("all-2");
    await state.shell.write("echo after-$((1+2))\r");
    await state.out.until("after-3");
    return { text, events: state.events };
  });
  for (let i = 1; i <= 40; i++) assert.equal(got.text.split(`line-${i}\r\n`).length, 2, `line-${i} of ${got.text}`);
  assert.deepEqual(got.events.slice(0, 2), ["detached", "connected"]);
  assert.ok(got.events[2] >= 4000, `${got.events[2]} ms`);
});

test("each refusal has its reason and a sentence", async (t) => {
  const { page, sshd, line } = await setup(t);
  const failing = async (more, prompts = {}) => {
    const { error } = await page.run(async ({ SSHSession, prompter, outcome }, { more, prompts }) => {
      const { prompts: asked } = prompter(prompts);
      return outcome(SSHSession.connect({ ...more, prompts: asked }));
    }, { more: { ...options(sshd, line), ...more }, prompts });
    assert.equal(error?.name, "SSHError", JSON.stringify(error));
    assert.match(error.message, /^[A-Z0-9].{10,}[.?]$/s, error.code);
    t.diagnostic(`${error.code}: ${error.message}`);
    return error;
  };
  assert.equal((await failing({ password: "wrong" }, { answers: { password: [["wrong too"], null] } })).code, "cancelled");
  assert.equal((await failing({}, { answers: { password: [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]] } })).code, "auth");
  assert.equal((await failing({}, {})).code, "cancelled");
  assert.equal((await failing({ password: sshd.password }, { hostKey: "refuse" })).code, "hostkey");
  const nobody = await closedPort();
  const unreachable = await failing({ port: nobody.port });
  assert.equal(unreachable.code, "unreachable");
  assert.ok(unreachable.message.includes(`127.0.0.1:${nobody.port}`), unreachable.message);
  assert.equal((await failing({ url: `ws://127.0.0.1:${nobody.port}` })).code, "network");
  const strict = await startServer(t, { BLOCKED_TARGETS: "127.0.0.0/8" });
  assert.equal((await failing({ url: strict.ws })).code, "blocked");
  assert.equal((await failing({ host: "no-such-name.invalid" })).code, "blocked");
  const other = newKey(sshd.path("other"), "other").publicKey.split(" ").slice(0, 2).join(" ");
  assert.equal((await failing({ password: sshd.password, knownHosts: `[127.0.0.1]:${sshd.port} ${other}\n` }, { hostKey: "remember" })).code, "hostkey");
  const web = await startTarget(t, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  assert.ok(["network", "protocol"].includes((await failing({ port: web.port })).code)); // it says no word of SSH, and ends
});

test("a changed host key is asked about as such, and a known one not at all", async (t) => {
  const { page, sshd, line } = await setup(t);
  const first = await connect(page, { ...options(sshd, line), password: sshd.password }, { hostKey: "remember" });
  assert.equal(first.noted.lines.length > 0, true);
  const again = await connect(page, { ...options(sshd, line), password: sshd.password, knownHosts: first.noted.lines.join("\n") }, { hostKey: "refuse" });
  assert.deepEqual([again.state, again.noted.hostKeys.length], ["connected", 0]);
  const { port } = sshd;
  await sshd.stop();
  const impostor = await startSSHD(t, { port });
  const noted = await page.run(async ({ SSHSession, prompter, outcome }, { options }) => {
    const { prompts, noted } = prompter({ hostKey: "once" });
    const { error } = await outcome(SSHSession.connect({ ...options, prompts }));
    return { code: error?.code, message: error?.message, hostKeys: noted.hostKeys, questions: noted.questions.length };
  }, { options: { ...options(impostor, line), password: impostor.password, knownHosts: first.noted.lines.join("\n") } });
  assert.deepEqual([noted.code, noted.hostKeys[0].state, noted.questions], ["hostkey", "changed", 0]);
  assert.equal(noted.hostKeys[0].known[0].fingerprint, first.noted.hostKeys[0].fingerprint);
});

test("a jump host has its own questions", async (t) => {
  const { page, sshd, line } = await setup(t);
  const inner = await startSSHD(t);
  const told = await connect(page, { ...options(inner, line), jump: { host: sshd.host, port: sshd.port, user: sshd.user } },
    { answers: { password: [[sshd.password], [inner.password]] } });
  assert.equal(told.noted.questions.length, 2);
  assert.deepEqual(told.noted.hostKeys.map(({ port }) => port), [sshd.port, inner.port]);
  await openShell(page);
  await page.run(async ({ state }) => {
    await state.shell.write("echo $SSH_CONNECTION | cut -d' ' -f4 | sed 's/^/port=/'\r");
  });
  await page.run(({ state }, port) => state.out.until(`port=${port}`), inner.port);
});

test("a person who gives up while it connects is done at once, and nothing is left", async (t) => {
  const { page, sshd, line, server } = await setup(t);
  const error = await page.run(async ({ SSHSession, prompter, outcome }, options) => {
    const { prompts } = prompter({});
    const stop = new AbortController();
    prompts.ask = () => {
      stop.abort();
      return new Promise(() => {});
    };
    return outcome(SSHSession.connect({ ...options, prompts, signal: stop.signal }));
  }, options(sshd, line));
  assert.equal(error.error.code, "cancelled");
  await eventually("the relay has ended", () => server.lines('"msg":"relay ended"').length + server.lines('"msg":"session ended"').length > 0 || server.log.includes("client_"));
});

test("a command without a terminal has stdin, stdout, stderr and a status", async (t) => {
  const { page, sshd, line } = await setup(t);
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  const got = await page.run(async ({ state }) => {
    const shell = await state.session.shell({ cols: 80, rows: 24, term: "", command: "cat; echo trouble >&2; exit 3" });
    const out = ["", ""];
    shell.onData = (bytes, isStderr) => { out[Number(isStderr)] += new TextDecoder().decode(bytes); };
    await shell.write("in and\nout");
    await shell.closeInput();
    return [await shell.closed, out];
  });
  assert.deepEqual(got, [{ status: 3 }, ["in and\nout", "trouble\n"]]);
});
