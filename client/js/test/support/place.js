// Where the module under test runs: in this process, or in a page of a real
// Chromium. The tests are the same.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { after, before } from "node:test";
import { inTime } from "./wait.js";

export const inBrowser = process.env.WSPROXY_TEST_IN === "chromium";

let browser, context, pages;

if (inBrowser) {
  before(async () => {
    pages = await servePages();
    browser = await launch();
    context = await browser.newContext();
  });
  after(async () => {
    await browser?.close();
    pages?.close();
  });
} else {
  // What a browser has and Node does not, before 22 and before 20.
  globalThis.WebSocket ??= (await import("ws")).WebSocket;
  globalThis.crypto ??= webcrypto;
}

// What is left running, such as a tunnel that tries again for ever, would keep
// this process from ending, and whoever waits for it too.
after(() => {
  setTimeout(() => {
    console.error("the tests have ended, but something of theirs still runs");
    process.exit(1);
  }, 10_000).unref();
});

/**
 * A page with the module. Its run(code, args) calls code(page, args), where
 * `page` has the module's exports, what is in page.js, and an object `state`
 * for what is to outlive the call. In the browser code is sent as text, so it
 * can't use anything of the test's; args and results are JSON. `tab` is the
 * browser's, if it is one.
 *
 * @param {import("node:test").TestContext} t
 */
export async function openPage(t) {
  if (inBrowser) return openBrowserPage(t);
  const module = await import("../../wsproxy.js");
  // A browser's page ends with the test. What is left open here would look for its server.
  const ending = new AbortController();
  t.after(() => ending.abort(new Error("the test has ended")));
  const open = (name) => (options) => module[name]({ signal: ending.signal, ...options });
  const page = { ...module, connectRelay: open("connectRelay"), openTunnel: open("openTunnel"), ...await import("./page.js"), state: {} };
  return { run: (code, args) => inTime("what runs in the page", code(page, args)) };
}

async function openBrowserPage(t) {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack));
  t.after(async () => {
    await page.close();
    assert.deepEqual(errors, [], "errors that nobody caught in the page");
  });
  await page.goto(pages.url);
  await page.evaluate(async () => {
    const module = await import("/wsproxy.js");
    const helpers = await import("/test/support/page.js");
    globalThis.page = { ...module, ...helpers, state: {} };
  });
  const run = (code, args) => inTime("what runs in the page",
    page.evaluate(`(${code})(globalThis.page, ${JSON.stringify(args)})`));
  return { run, tab: page };
}

async function launch() {
  const { chromium } = await import("playwright-core");
  const executablePath = process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
  return chromium.launch({
    executablePath,
    ignoreDefaultArgs: ["--disable-back-forward-cache"], // as users have it
    // Nothing but the loopback interface is asked for; root has no sandbox.
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** Serves the module's files as a web server would. */
async function servePages() {
  const root = new URL("../../", import.meta.url);
  const listener = http.createServer(async (request, response) => {
    if (request.url === "/") {
      response.setHeader("Content-Type", "text/html").end("<!doctype html><title>wsproxy</title>");
      return;
    }
    try {
      const bytes = await readFile(new URL(`.${request.url}`, root));
      response.setHeader("Content-Type", "text/javascript").end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${listener.address().port}/`,
    close: () => {
      listener.close();
      listener.closeAllConnections();
    },
  };
}
