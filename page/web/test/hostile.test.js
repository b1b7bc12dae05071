// What a host may send to harm the page: it goes on, and so do other sessions.
import assert from "node:assert/strict";
import test from "node:test";
import { drawn, visit } from "./support/looks.js";

test("sequences that repeat something without end do not freeze the terminal", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.login();
  for (const [name, sequence] of [
    ["scroll-up", "\\e[2147483647S"], ["scroll-down", "\\e[2147483647T"], ["lines-in", "\\e[H\\e[2147483647L"], ["lines-out", "\\e[H\\e[2147483647M"],
    ["tabs", "\\e[2147483647I"], ["tabs-back", "\\e[2147483647Z"], ["repeat", "a\\e[2147483647b"], ["repeat-less", "a\\e[99999999b"],
    ["chars", "\\e[2147483647@\\e[2147483647P\\e[2147483647X"], ["columns", "\\e[2147483647'}\\e[2147483647'~\\e[2147483647 @\\e[2147483647 A"],
  ]) {
    const began = Date.now();
    await page.type(`clear; printf "${sequence}\\n"; echo ${name}-$((6*7))\r`);
    await page.sees(`${name}-42`);
    t.diagnostic(`${name}: ${Date.now() - began} ms`);
  }
  // Many of them take their time, but the page goes on meanwhile.
  await page.tab.evaluate(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ entryTypes: ["longtask"] });
  });
  await page.type("clear; printf '\\e[999%s' $(yes 'S L M T' | head -c 12000); echo flood-$((6*7))\r");
  await page.sees("flood-42");
  const longest = await page.tab.evaluate(() => globalThis.longest);
  t.diagnostic(`longest task: ${Math.round(longest)} ms`);
  assert.ok(longest < 4000, `the page stands still for ${longest} ms`);
});

test("a link that comes while the form is filled takes no password along", async (t) => {
  const page = await visit(t);
  await page.open();
  await page.tab.locator("input[name=password]").fill("for the host before");
  await page.tab.evaluate(() => { location.hash = "#ssh://root@elsewhere.example:2222"; });
  await page.tab.waitForFunction(() => document.querySelector("input[name=host]").value === "elsewhere.example");
  assert.equal(await page.tab.locator("input[name=password]").inputValue(), "");
});

test("whatever the browser has kept, the page comes up and shows it as text", async (t) => {
  const bad = "<img src=x onerror=\"globalThis.broken=1\">";
  const profile = (id, more) => ({ id, name: `${id} ${bad}`, host: bad, port: 22, user: bad, auth: "password", ...more });
  const page = await visit(t, {
    stored: {
      profiles: [
        null, 5, [], { id: 1 }, profile("plain"), profile("jump", { jump: {} }), profile("numbers", { jump: { host: 5, port: "x", user: null } }),
        profile("auth", { auth: "toString" }), profile("port", { port: 1e300 }),
      ],
      settings: { fontSize: "x", theme: bad, scrollback: -1 }, security_keys: [null, { publicKey: bad, application: "127.0.0.1", credentialId: "x" }], known_hosts: bad,
    },
  });
  await page.open();
  const places = page.tab.locator(".place-button");
  assert.deepEqual((await places.allTextContents()).map((text) => text.split(" ")[0]), ["plain", "auth", "port"]);
  for (const place of await places.all()) await place.click();
  await page.button("Settings").click();
  await page.tab.getByRole("dialog", { name: "Settings" }).waitFor();
  assert.equal(await page.tab.evaluate(() => globalThis.broken), undefined);
});
