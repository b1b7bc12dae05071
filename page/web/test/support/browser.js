// Pages of a real Chromium, with the library.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { inTime } from "../../../../client/js/test/support/wait.js";
import { servePages } from "./pages.js";

let browser, pages;

before(async () => {
  pages = await servePages(process.env.PAGE_TEST_FILES);
  const executablePath = process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
  browser = await chromium.launch({
    executablePath,
    ignoreDefaultArgs: ["--disable-back-forward-cache"], // as users have it
    // Nothing but the loopback interface is asked for; root has no sandbox.
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
      "--host-resolver-rules=MAP page.test 127.0.0.1", // a page of this name has no secure context
    ],
  });
});

after(async () => {
  await browser?.close();
  pages?.close();
  // What is left running would keep this process from ending, and whoever waits for it too.
  setTimeout(() => {
    console.error("the tests have ended, but something of theirs still runs");
    process.exit(1);
  }, 10_000).unref();
});

/** A browser profile of its own: pages of one share their workers. It ends with the test. */
export async function openProfile(t) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return context;
}

/**
 * A page with the library. Its run(code, args) calls code(page, args), where
 * `page` has the library's exports, what is in support/page.ts, and an object
 * `state` for what is to outlive the call. Code is sent as text, so it can't
 * use anything of the test's; args and results are JSON. `host` is what the
 * page is called.
 */
export async function openPage(t, context, host = "127.0.0.1") {
  const tab = await (context ?? await openProfile(t)).newPage();
  const errors = [];
  tab.on("pageerror", (error) => errors.push(error.stack));
  tab.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) errors.push(message.text());
    if (process.env.PAGE_TEST_CONSOLE) console.log(`${message.type()}: ${message.text()}`);
  });
  t.after(async () => {
    await tab.close();
    assert.deepEqual(errors, [], "errors that nobody caught in the page");
  });
  await tab.goto(pages.url.replace("127.0.0.1", host));
  const ready = () => tab.waitForFunction(() => "page" in globalThis);
  await ready();
  const run = (code, args) => inTime("what runs in the page",
    tab.evaluate(`(${code})(globalThis.page, ${JSON.stringify(args)})`));
  const reload = async () => {
    await tab.reload();
    await ready();
  };
  return { run, tab, reload };
}
