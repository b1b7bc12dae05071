// Ways to log in that need more than a password or a key, and a server that
// wants a token or has had enough, in a real Chromium.
import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { test } from "node:test";
import { startServer } from "../../../client/js/test/support/server.js";
import { startIssuer } from "../../../client/js/test/support/tokens.js";
import { connect, openShell, options, setup } from "./support/session.js";

test("keyboard-interactive asks, and asks again after a wrong answer", async (t) => {
  const pam = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
  const { page, sshd, line } = await setup(t, { sshd: { pam } });
  const told = await connect(page, options(sshd, line), { answers: { "keyboard-interactive": [["wrong"], [sshd.password]] } });
  const asked = told.noted.questions.filter(({ prompts }) => prompts.length > 0);
  assert.deepEqual(asked.map(({ kind, attempt, prompts: [{ text, echo }] }) => [kind, attempt, /password/i.test(text), echo]),
    [["keyboard-interactive", 1, true, false], ["keyboard-interactive", 2, true, false]]);
  await openShell(page);
});

test("a security key logs in by WebAuthn", async (t) => {
  const { page, sshd, line } = await setup(t, {
    host: "localhost", sshd: { config: "PubkeyAcceptedAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com" },
  });
  const devtools = await page.tab.context().newCDPSession(page.tab);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", { options: { protocol: "ctap2", transport: "usb", automaticPresenceSimulation: true } });
  const key = await page.run(async ({ createSecurityKey, hasWebAuthn }) => hasWebAuthn() && createSecurityKey({ name: "ada" }));
  assert.match(key.publicKey, /^sk-ecdsa-sha2-nistp256@openssh\.com AAAA\S+ ada$/);
  appendFileSync(`${sshd.home}/.ssh/authorized_keys`, `\n${key.publicKey}\n`);
  const told = await connect(page, { ...options(sshd, line), securityKeys: [key] });
  assert.deepEqual([told.state, told.noted.questions], ["connected", []]);
  await openShell(page);
});

test("a token is asked for anew each time, and never seen in a URL", async (t) => {
  const issuer = await startIssuer(t);
  const { page, sshd, server, line } = await setup(t, { env: { CLERK_JWKS_URL: issuer.jwks } });
  const requests = [];
  page.tab.context().on("request", (request) => requests.push(request.url()));
  const token = issuer.token();
  const got = await page.run(async ({ SSHSession, prompter, outcome }, { options, token }) => {
    const { prompts } = prompter({});
    const tokens = [null, "nonsense", token];
    const none = await outcome(SSHSession.connect({ ...options, prompts, token: () => tokens.shift() }));
    const bad = await outcome(SSHSession.connect({ ...options, prompts, token: async () => tokens.shift() }));
    const good = await SSHSession.connect({ ...options, prompts, token: () => tokens.shift() });
    return [none.error, bad.error, good.state];
  }, { options: { ...options(sshd, line), keys: [{ privateKey: sshd.privateKey }] }, token });
  t.diagnostic(`${got[0].message} ${got[1].message}`);
  assert.deepEqual([got[0].code, got[1].code, got[2]], ["token", "token", "connected"]);
  for (const { message } of got.slice(0, 2)) assert.doesNotMatch(message, /query|subprotocol/); // of no use to a person
  assert.ok(!requests.some((url) => url.includes(token)), requests.join("\n"));
  assert.ok(!server.log.includes(token));
});

test("limits, and a server that goes down, are told as such", async (t) => {
  const { page, sshd, line, server } = await setup(t, { env: { MAX_CONNS_PER_IP: "1" } });
  const keys = [{ privateKey: sshd.privateKey }];
  await connect(page, { ...options(sshd, line), keys });
  const again = (url) => page.run(async ({ SSHSession, prompter, outcome }, options) => {
    const { error } = await outcome(SSHSession.connect({ ...options, prompts: prompter({}).prompts }));
    return error;
  }, { ...options(sshd, { url }), keys });
  const full = await again(server.ws);
  t.diagnostic(full.message);
  assert.equal(full.code, "limit");
  const going = await startServer(t, { SHUTDOWN_GRACE: "60s" });
  await connect(page, { ...options(sshd, { url: going.ws }), keys });
  going.signal("SIGTERM");
  let drained;
  do drained = await again(going.ws); while (!drained); // until the signal is there
  t.diagnostic(drained.message);
  assert.equal(drained.code, "drained");
});
