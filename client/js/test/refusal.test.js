import assert from "node:assert/strict";
import { test } from "node:test";
import { closedPort, startHandTarget, startTarget } from "./support/peers.js";
import { inBrowser, openPage } from "./support/place.js";
import { startRecorder } from "./support/recorder.js";
import { startServer } from "./support/server.js";
import { startIssuer } from "./support/tokens.js";

/** What connectRelay comes to, as an error. */
async function refusal(page, options) {
  const { error } = await page.run((page, options) => page.outcome(page.connectRelay(options)), options);
  assert.equal(error?.name, "WsproxyError", "the relay was not refused");
  assert.equal(error.code, 1006);
  return error;
}

test("tokens travel as a subprotocol, anew each time, and never in a URL", async (t) => {
  const issuer = await startIssuer(t);
  const [server, page, target] = await Promise.all([
    startServer(t, { CLERK_JWKS_URL: issuer.jwks }), openPage(t), startHandTarget(t),
  ]);
  const recorder = await startRecorder(t, server);
  const tokens = [issuer.token(), issuer.token()];
  const got = await page.run(async (page, { url, host, port, tokens }) => {
    let asked = 0;
    const token = async () => tokens[asked++];
    for (let i = 0; i < 2; i++) {
      const relay = await page.connectRelay({ url, host, port, token });
      await relay.readable.cancel();
      await relay.closed;
    }
    const tunnel = await page.openTunnel({ url, token: tokens[0] });
    await tunnel.close();
    const refused = [
      await page.outcome(page.connectRelay({ url, host, port, token: () => `${tokens[0]}x` })),
      await page.outcome(page.openTunnel({ url, token: "abc" })),
      await page.outcome(page.connectRelay({ url, host, port })),
      await page.outcome(page.connectRelay({ url, host, port, token: "two words" })),
      await page.outcome(page.connectRelay({ url, host, port, token: () => Promise.reject(new Error("signed out")) })),
    ];
    return { asked, refused: refused.map(({ error }) => error) };
  }, { url: recorder.url, ...target, tokens });
  assert.equal(got.asked, 2);
  const [changed, garbage, none, words, signedOut] = got.refused;
  for (const error of [changed, garbage, none]) {
    assert.equal(error.name, "WsproxyError");
    assert.equal(error.status, 401);
    assert.equal(error.code, 1006);
  }
  assert.equal(garbage.reason, "the token is not a JSON Web Token in compact form");
  assert.match(garbage.message, /refused: the token is not/);
  assert.match(none.reason, /^no token was given/);
  assert.equal(words.name, "TypeError");
  assert.equal(signedOut.message, "signed out");

  const upgrades = recorder.requests.filter(({ headers }) => headers.upgrade).map(({ headers }) => headers["sec-websocket-protocol"]);
  const offers = upgrades.map((offer) => offer.replaceAll(" ", ""));
  assert.deepEqual(offers, [
    ...[tokens[0], tokens[1], tokens[0], `${tokens[0]}x`, "abc"].map((token) => `wsproxy.v1,wsproxy.resume,bearer.${token}`),
    "wsproxy.v1,wsproxy.resume",
  ]);
  for (const { method, url } of recorder.requests) {
    assert.ok(!/token|bearer|eyJ|abc/.test(url), `${method} ${url}`);
  }
});

test("a target that is not allowed", async (t) => {
  const [server, page] = await Promise.all([startServer(t, { BLOCKED_TARGETS: "" }), openPage(t)]);
  const error = await refusal(page, { url: server.ws, host: "127.0.0.1", port: 22 });
  assert.equal(error.status, 403);
  assert.equal(error.reason, "the target is not allowed, or its name does not resolve");
  const access = await refusal(page, { url: server.ws, cfDomain: "localhost", cfId: "id", cfSecret: "s p" });
  assert.equal(access.status, 403);
});

test("parameters that the server does not take", async (t) => {
  const [server, page] = await Promise.all([startServer(t), openPage(t)]);
  assert.equal((await refusal(page, { url: server.ws, host: "127.1", port: 22 })).status, 400);
  assert.equal((await refusal(page, { url: server.ws, host: "h", port: 70000 })).status, 400);
  assert.equal((await refusal(page, { url: server.ws, cfDomain: "127.0.0.1", cfId: "i", cfSecret: "s" })).status, 400);
});

test("too many sessions", async (t) => {
  const [server, page, target] = await Promise.all([
    startServer(t, { MAX_CONNS_PER_IP: "1" }), openPage(t), startHandTarget(t),
  ]);
  await page.run(async (page, options) => {
    page.state.relay = await page.connectRelay(options);
  }, { url: server.ws, ...target });
  const error = await refusal(page, { url: server.ws, ...target });
  assert.equal(error.status, 429);
  assert.equal(error.reason, "Too many sessions from your address; close one first.");
});

test("a server without tunnels", async (t) => {
  const [server, page] = await Promise.all([startServer(t, { TUNNEL_DOMAIN: "", TUNNEL_PUBLIC_URL: "" }), openPage(t)]);
  const { error } = await page.run((page, url) => page.outcome(page.openTunnel({ url })), server.ws);
  assert.equal(error.status, 404);
  assert.match(error.reason, /^Tunnels are not enabled on this server/);
});

test("no server, and one of another kind", async (t) => {
  const [nothing, hangs, page] = await Promise.all([
    closedPort(),
    startTarget(t, (socket) => socket.once("data", () => socket.end())),
    openPage(t),
  ]);
  for (const { port } of [nothing, hangs]) {
    const error = await refusal(page, { url: `ws://127.0.0.1:${port}`, host: "h", port: 1 });
    assert.equal(error.status, undefined);
    assert.match(error.message, /cannot be reached/);
  }
  const html = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
  const website = await startTarget(t, (socket) => socket.once("data", () => socket.end(html)));
  const error = await refusal(page, { url: `ws://127.0.0.1:${website.port}`, host: "h", port: 1 });
  assert.equal(error.status, 200);
  assert.match(error.message, /not the address of a wsproxy server/);
});

// Only browsers say which page asks.
if (inBrowser) {
  test("a page of an origin that is not allowed", async (t) => {
    const [server, page] = await Promise.all([
      startServer(t, { ALLOWED_ORIGINS: "https://app.example.com" }), openPage(t),
    ]);
    const error = await refusal(page, { url: server.ws, host: "127.0.0.1", port: 22 });
    assert.equal(error.status, undefined);
    assert.match(error.message, /does not allow pages of this origin/);
  });
}
