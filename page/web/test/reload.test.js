// What lives on when a page is reloaded, closed or frozen, in a real Chromium.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../../../client/js/test/support/wait.js";
import { openPage, openProfile } from "./support/browser.js";
import { connect, openShell, options, setup } from "./support/session.js";

/** A page with a shell in which something is under way. */
async function begin(t, profile, host) {
  const rig = await setup(t, { profile: profile ?? await openProfile(t), host });
  await connect(rig.page, { ...options(rig.sshd, rig.line), keys: [{ privateKey: rig.sshd.privateKey }], label: "mine" });
  await openShell(rig.page);
  await rig.page.run(async ({ state }) => {
    await state.shell.write("kept=all-of-it; echo shown-$((1+1))\r");
    await state.out.until("shown-2");
  });
  return rig;
}

/** Takes the only session over, and looks whether the shell is the same. */
const takeOver = (page) => page.run(async ({ SSHSession, prompter, screen, state, outcome }) => {
  const sessions = await SSHSession.list();
  if (sessions.length !== 1) return { sessions };
  state.session = await SSHSession.adopt(sessions[0].id, { prompts: prompter({}).prompts });
  [state.shell] = state.session.shells;
  state.out = screen(state.shell);
  await state.out.until("shown-2"); // what the page before has seen
  await state.shell.write("echo still:$kept:\r");
  return { sessions, text: await state.out.until("still:all-of-it:"), outcome: await outcome(SSHSession.adopt(sessions[0].id, { prompts: prompter({}).prompts }).then(() => "?")) };
});

test("a shell survives a reload of the only page, as the browser keeps the worker for some seconds", async (t) => {
  const { page } = await begin(t);
  const lifetime = await page.run(({ lifetime }) => lifetime());
  t.diagnostic(JSON.stringify(lifetime));
  await page.reload();
  const got = await takeOver(page);
  assert.deepEqual(lifetime, { survivesReload: true, needsOtherPage: false }, "an older Chromium than this needs another page");
  assert.equal(got.sessions.length, 1);
  assert.deepEqual([got.sessions[0].label, got.sessions[0].isTaken], ["mine", false]);
  assert.match(got.text, /shown-2/);
  assert.equal(got.outcome.error.code, "exists");
});

test("a shell survives a reload while another page is open", async (t) => {
  const { page, profile } = await begin(t);
  const other = await openPage(t, profile);
  await other.run(({ SSHSession }) => SSHSession.list());
  await page.reload();
  const got = await takeOver(page);
  assert.equal(got.sessions.length, 1);
  assert.match(got.text, /shown-2/);
});

test("a page without TLS does the same as others, and says what lives on", async (t) => {
  const { page } = await begin(t, undefined, "page.test");
  assert.equal(await page.run(() => isSecureContext), false);
  const lifetime = await page.run(({ lifetime }) => lifetime());
  await page.reload();
  const got = await takeOver(page);
  t.diagnostic(`${JSON.stringify(lifetime)}, ${got.sessions.length} sessions after the reload`);
  assert.equal(got.sessions.length, lifetime.survivesReload && !lifetime.needsOtherPage ? 1 : 0);
});

test("where the browser does not keep the worker, another page has to be open, and lifetime() says so", async (t) => {
  const profile = await openProfile(t);
  await profile.addInitScript(() => { // a browser that does not know the option
    const Plain = SharedWorker;
    globalThis.SharedWorker = class extends Plain {
      constructor(url, { name }) {
        super(url, { name });
      }
    };
  });
  const { page } = await begin(t, profile);
  assert.deepEqual(await page.run(({ lifetime }) => lifetime()), { survivesReload: true, needsOtherPage: true });
  await page.reload();
  const alone = await page.run(({ SSHSession }) => SSHSession.list());
  t.diagnostic(`${alone.length} sessions after a reload of the only page`);
  assert.deepEqual(alone, []);
});

test("a page that is closed leaves its sessions to another one", async (t) => {
  const { page, profile } = await begin(t);
  const other = await openPage(t, profile);
  await other.run(({ SSHSession }) => SSHSession.list());
  await page.tab.close({ runBeforeUnload: false });
  await eventually("it is free", () => other.run(async ({ SSHSession }) => (await SSHSession.list()).some(({ isTaken }) => !isTaken)));
  const got = await takeOver(other);
  assert.equal(got.sessions.length, 1);
});

test("a page with a worker of its own loses its shell, and says so beforehand", async (t) => {
  const { page, sshd, line } = await setup(t);
  await page.run(async ({ useWorker, lifetime, state }) => {
    useWorker("worker.js", { shared: false });
    state.lifetime = lifetime();
  });
  assert.deepEqual(await page.run(({ state }) => state.lifetime), { survivesReload: false, needsOtherPage: false });
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  await openShell(page);
  await page.reload();
  assert.deepEqual(await page.run(({ SSHSession }) => SSHSession.list()), []);
});

/** Closes a page with a session, and tells how that ended at the server. */
async function closePage(t, kind) {
  const { page, server, sshd, line } = await setup(t);
  await page.run(({ useWorker }, kind) => {
    const Plain = SharedWorker;
    if (kind === "shared") globalThis.SharedWorker = class extends Plain { constructor(url, { name }) { super(url, { name }); } };
    if (kind === "own") useWorker("worker.js", { shared: false });
  }, kind);
  await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
  await openShell(page);
  const began = Date.now();
  await page.tab.close();
  const { msg, reason } = await eventually("the relay ends", () => server.lines('"msg":"relay ended"')[0] ?? server.lines('"msg":"relay detached"')[0]);
  t.diagnostic(`${kind}: ${msg}, ${reason}, after ${Date.now() - began} ms`);
  return msg;
}

test("pages that are closed end their sessions at the server, too", async (t) => {
  assert.equal(await closePage(t, "kept"), "relay ended");
  // These workers have a moment only, which a busy machine may not give them.
  for (const kind of ["shared", "own"]) {
    const seen = [];
    while (seen.length < 5 && seen.at(-1) !== "relay ended") seen.push(await closePage(t, kind));
    assert.equal(seen.at(-1), "relay ended", kind);
  }
});

test("a page that is frozen for longer than the server's pings has its output afterwards", async (t) => {
  for (const isShared of [true, false]) {
    const { page, sshd, line, server } = await setup(t, { env: { PING_INTERVAL: "1s" } });
    if (!isShared) await page.run(({ useWorker }) => useWorker("worker.js", { shared: false }));
    await connect(page, { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] });
    await openShell(page);
    await page.run(async ({ state }) => {
      await state.shell.write("for i in $(seq 1 60); do echo line-$i; sleep 0.1; done; echo all-$((1+1))\r");
      await state.out.until("line-2");
    });
    const devtools = await page.tab.context().newCDPSession(page.tab);
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    await new Promise((resolve) => setTimeout(resolve, 5000)); // what is tried is time itself
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    const text = await page.run(({ state }) => state.out.until("all-2"));
    for (let i = 1; i <= 60; i++) assert.equal(text.split(`line-${i}\r\n`).length, 2, `line-${i} of ${text}`);
    assert.equal(server.lines('"msg":"relay ended"').length, 0);
  }
});

test("a worker that can't be loaded is told as such", async (t) => {
  for (const shared of [true, false]) {
    const { page, sshd, line } = await setup(t);
    const { error } = await page.run(async ({ useWorker, SSHSession, prompter, outcome }, { options, shared }) => {
      useWorker("missing.js", { shared });
      return outcome(SSHSession.connect({ ...options, prompts: prompter({}).prompts }));
    }, { options: options(sshd, line), shared });
    assert.equal(error.code, "worker");
    assert.match(error.message, /Reload/);
  }
});
