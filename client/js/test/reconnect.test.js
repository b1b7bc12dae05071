import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "./support/peers.js";
import { openPage } from "./support/place.js";
import { startServer } from "./support/server.js";
import { startIssuer } from "./support/tokens.js";

/** A page with a tunnel that comes back, and notes what happens. Without resume: with it, see resume-real.test.js. */
async function openTunnel(page, url, token) {
  return page.run(async (page, { url, token }) => {
    const { state } = page;
    Object.assign(state, { ready: [], lost: [], asked: 0, controller: new AbortController() });
    state.tunnel = await page.openTunnel({
      url,
      resume: false,
      token: token && (() => {
        state.asked++;
        return token;
      }),
      reconnect: { firstDelay: 20, maxDelay: 200 },
      signal: state.controller.signal,
      onRequest: () => new Response("here"),
      onReady: (address) => state.ready.push(address),
      onLost: (error) => state.lost.push(page.told(error)),
    });
    return { url: state.tunnel.url, rawPort: state.tunnel.rawPort };
  }, { url, token });
}

const closed = (page) => page.run((page) => page.outcome(page.state.tunnel.closed));
const lost = (page) => page.run((page) => page.until(() => page.state.lost.length > 0));

test("a tunnel comes back when the server was killed and started again", async (t) => {
  const issuer = await startIssuer(t);
  const env = { CLERK_JWKS_URL: issuer.jwks };
  const [first, page] = await Promise.all([startServer(t, env), openPage(t)]);
  const before = await openTunnel(page, first.ws, issuer.token());
  await first.kill();
  await lost(page);
  const second = await startServer(t, { ...env, PORT: String(first.port) });
  const got = await page.run(async ({ state, until }) => {
    await until(() => state.ready.length === 2);
    const { url, rawPort } = state.tunnel;
    return { url, rawPort, ready: state.ready, lost: state.lost, asked: state.asked };
  });
  assert.notEqual(got.url, before.url);
  assert.deepEqual(got.ready.map(({ url }) => url), [before.url, got.url]);
  assert.equal(got.ready[1].rawPort, got.rawPort);
  assert.deepEqual(got.lost.map(({ code }) => code), [1006]);
  assert.ok(got.asked >= 2);
  assert.equal(String((await ask(second, got.url)).body), "here");
  await page.run(({ state }) => state.tunnel.close());
  assert.deepEqual((await closed(page)).value, { code: 1000, reason: "" });
});

test("a tunnel moves to the successor of a server that drains", async (t) => {
  const [first, page] = await Promise.all([startServer(t, { SHUTDOWN_TIMEOUT: "50ms" }), openPage(t)]);
  await openTunnel(page, first.ws);
  first.signal("SIGTERM");
  await lost(page);
  await first.exited();
  const second = await startServer(t, { PORT: String(first.port) });
  const got = await page.run(async ({ state, until }) => {
    await until(() => state.ready.length === 2);
    return { url: state.tunnel.url, lost: state.lost };
  });
  assert.deepEqual(got.lost.map(({ code }) => code), [1001]);
  assert.equal(String((await ask(second, got.url)).body), "here");
  await page.run(({ state }) => state.tunnel.close()); // else it would try for ever
});

test("without reconnect, the end is the end", async (t) => {
  const [server, page] = await Promise.all([startServer(t), openPage(t)]);
  await page.run(async (page, url) => {
    page.state.tunnel = await page.openTunnel({ url, resume: false });
  }, server.ws);
  await server.kill();
  assert.equal((await closed(page)).error.code, 1006);
});

test("a refusal that will not get better ends it", async (t) => {
  const issuer = await startIssuer(t);
  for (const [env, status] of [[{ TUNNEL_DOMAIN: "", TUNNEL_PUBLIC_URL: "" }, 404], [{ CLERK_JWKS_URL: issuer.jwks }, 401]]) {
    const [first, page] = await Promise.all([startServer(t), openPage(t)]);
    await openTunnel(page, first.ws, "old");
    await first.kill();
    await startServer(t, { ...env, PORT: String(first.port) });
    const { error } = await closed(page);
    assert.equal(error.name, "WsproxyError");
    assert.equal(error.status, status);
    assert.ok(error.reason.length > 0);
  }
});

test("close() and the signal end the attempts", async (t) => {
  for (const [end, check] of [
    [({ state }) => state.tunnel.close(), (result) => assert.deepEqual(result.value, { code: 1000, reason: "" })],
    [({ state }) => void state.controller.abort(new Error("enough")),
      (result) => assert.equal(result.error.message, "enough")],
  ]) {
    const [server, page] = await Promise.all([startServer(t), openPage(t)]);
    await openTunnel(page, server.ws);
    await server.kill();
    await lost(page);
    await page.run(end);
    check(await closed(page));
  }
});
