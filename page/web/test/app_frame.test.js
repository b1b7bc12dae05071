// The page inside another application: who may have it, and give it a token.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { eventually } from "../../../client/js/test/support/wait.js";
import { drawn, visit } from "./support/looks.js";

/** An application's page, which answers every wish for a token. */
async function application(t) {
  const listener = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>An application</title><iframe width=1000 height=700></iframe>"));
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => listener.close().closeAllConnections());
  return `http://127.0.0.1:${listener.address().port}`;
}

async function embed(page, origin, token) {
  await page.tab.goto(origin);
  await page.tab.evaluate(({ url, token }) => {
    globalThis.wishes = 0;
    addEventListener("message", (event) => {
      if (event.data?.type !== "wsproxy-token-wanted") return;
      globalThis.wishes++;
      event.source.postMessage({ type: "wsproxy-token", token }, event.origin);
    });
    document.querySelector("iframe").src = url;
  }, { url: `${page.site.url}#ssh://${page.sshd.user}:secret@127.0.0.1:${page.sshd.port}`, token });
  return page.tab.frameLocator("iframe");
}

test("an allowed application has the page in a frame and gives it the token", async (t) => {
  const origin = await application(t);
  const page = await visit(t, { stored: drawn, settings: { auth: true, ancestors: [origin] } });
  const frame = await embed(page, origin, "header.payload.signature");
  assert.equal(await frame.locator("input[name=password]").inputValue(), "secret", "a link may have a password");
  await frame.locator(".connect-button").click();
  await frame.getByRole("dialog", { name: "Is this the right host?" }).waitFor();
  assert.ok(page.site.upgrades.some(({ protocols }) => protocols.includes("header.payload.signature")), "the token is in the request");
  assert.ok(page.site.upgrades.every(({ url }) => !url.includes("payload")), "and not in its address");
  assert.ok(!page.tab.frames().some((frame) => frame.url().includes("secret")), "the password is gone from the address");
});

test("a server that wants no token has nobody asked for one", async (t) => {
  const origin = await application(t);
  const page = await visit(t, { stored: drawn, settings: { ancestors: [origin] } });
  const frame = await embed(page, origin, "a.b.c");
  await frame.locator(".connect-button").click();
  await frame.getByRole("dialog", { name: "Is this the right host?" }).waitFor();
  assert.equal(await page.tab.evaluate(() => globalThis.wishes), 0);
});

test("another application is neither asked nor heard", async (t) => {
  const origin = await application(t);
  const page = await visit(t, { stored: drawn, settings: { auth: true, ancestors: [origin] } });
  const other = await application(t);
  await page.tab.goto(other);
  const opened = page.tab.context().waitForEvent("page");
  await page.tab.evaluate((url) => {
    globalThis.wishes = 0;
    addEventListener("message", () => globalThis.wishes++);
    globalThis.terminal = open(url);
  }, `${page.site.url}#ssh://ada@127.0.0.1:${page.sshd.port}`);
  const terminal = await opened;
  await terminal.locator(".connect-button").waitFor();
  await page.tab.evaluate((target) => globalThis.terminal.postMessage({ type: "wsproxy-token", token: "a.b.c" }, target), new URL(page.site.url).origin);
  await terminal.locator(".connect-button").click();
  await terminal.getByRole("dialog", { name: "This server asks for a token" }).waitFor();
  assert.equal(await page.tab.evaluate(() => globalThis.wishes), 0);
  await eventually("nothing is connected", async () => page.site.upgrades.length === 0);
});
