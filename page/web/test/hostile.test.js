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
    assert.ok(Date.now() - began < 10_000, `${name} takes ${Date.now() - began} ms`);
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
