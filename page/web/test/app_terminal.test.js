// The looks: from the form to the shell, and what may go wrong on the way.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { eventually } from "../../../client/js/test/support/wait.js";
import { drawn, visit } from "./support/looks.js";
import { newKey } from "./support/sshd.js";

test("from the form by the host's key and the password to a shell", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.open();
  assert.equal(await page.tab.locator(".tab").count(), 0, "a link never connects");
  await page.picture("form");
  await page.accessible("form");
  await page.connect();
  await page.tab.getByRole("dialog", { name: "Is this the right host?" }).waitFor();
  assert.equal(await page.tab.evaluate(() => document.activeElement.textContent), "Yes, connect", "Enter answers the question");
  await page.picture("host-key");
  await page.accessible("host key");
  const copy = page.button("Copy the fingerprint");
  for (let i = 0; i < 3; i++) await copy.click();
  await page.tab.locator("dialog .notice").waitFor();
  assert.equal(await page.tab.locator(".notice").count(), 1, "what is said again is there once");
  await page.button("Yes, connect").click();
  await page.tab.getByRole("dialog", { name: "Password" }).waitFor();
  await page.accessible("password");
  await page.tab.keyboard.type("wrong");
  await page.tab.keyboard.press("Enter");
  await page.tab.getByText("That was not accepted. Try again.").waitFor();
  await page.picture("wrong-password");
  await page.tab.keyboard.type(page.sshd.password);
  await page.tab.keyboard.press("Enter");
  await page.connected();
  await page.sees("$ ");
  await page.type("ls -l --color=always /; printf '\\e]0;build box\\a'; echo $((6*7))-answer\r");
  await page.sees("42-answer");
  await page.tab.locator(".tab", { hasText: "build box" }).waitFor();
  await page.picture("terminal");
  await page.accessible("terminal");
  await page.tab.emulateMedia({ colorScheme: "dark" });
  await page.picture("terminal-dark");
  await page.accessible("terminal, dark");
  await page.type("exit 3\r");
  await page.tab.getByText("The shell has ended with status 3.").waitFor();
  await page.picture("ended");
  await page.accessible("ended");
  await page.button("Connect again").click(); // the host is known, the password is asked
  await page.tab.getByRole("dialog", { name: "Password" }).waitFor();
  await page.tab.keyboard.press("Escape");
  await page.state("closed");
  await page.button("Close the tab").click();
  await page.tab.locator(".connect").waitFor();
  await page.accessible("form, dark");
  await page.button("Settings").click();
  await page.tab.getByRole("dialog", { name: "Settings" }).waitFor();
  await page.picture("settings");
  await page.accessible("settings, dark");
});

test("a host's key that has changed stops everything, and no click leads on", async (t) => {
  const page = await visit(t, { stored: drawn });
  const other = newKey(page.sshd.path("other"), "other");
  await page.open();
  const line = `[127.0.0.1]:${page.sshd.port} ${other.publicKey.split(" ").slice(0, 2).join(" ")}\n`;
  await page.tab.evaluate((line) => { localStorage["wsproxy.known_hosts"] = line; }, line);
  await page.connect();
  const stop = page.tab.getByRole("alertdialog", { name: "Stop: this host's key has changed" });
  await stop.waitFor();
  await page.picture("host-key-changed");
  await page.accessible("changed host key");
  assert.deepEqual(await stop.locator("footer button").allTextContents(), ["Don’t connect"]);
  await stop.getByText("The host was set up anew").click();
  const remove = stop.getByRole("button", { name: "Remove the old key" });
  assert.equal(await remove.isDisabled(), true);
  await stop.getByRole("textbox").fill(`127.0.0.1:${page.sshd.port}`);
  await remove.click();
  await page.button("Don’t connect").click();
  await page.tab.getByText("The host's key was not accepted").waitFor();
  await page.button("Connect again").click();
  await page.tab.getByRole("dialog", { name: "Is this the right host?" }).waitFor();
});

test("a lost network shows that it reconnects, and the session goes on where it was", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.login();
  await page.type("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo tick-$i-; sleep 1; done\r");
  await page.sees("tick-2-");
  page.site.cut();
  await page.state("detached");
  await page.tab.getByText(/^ \d+ s$/).filter({ hasText: /2\d/ }).waitFor();
  await page.picture("reconnecting");
  await page.accessible("reconnecting");
  page.site.mend();
  await page.connected();
  await page.sees("tick-12-");
  const text = await page.screen();
  for (let i = 1; i <= 12; i++) assert.equal(text.split(`tick-${i}-`).length, 2, `line ${i} came once`);
  await page.type("echo still-$((1+1))\r");
  await page.sees("still-2");
});

test("a key that is pasted is described and logs in; a new one can be made", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.open();
  await page.tab.getByRole("radio", { name: "Key", exact: true }).check();
  await page.tab.getByRole("textbox", { name: "Private key" }).fill(page.sshd.privateKey);
  await page.tab.locator(".key-outcome").getByText(page.sshd.publicKey.split(" ")[1]).waitFor();
  await page.picture("key");
  await page.accessible("key");
  await page.connect();
  await page.button("Yes, connect").click();
  await page.connected();
  await page.button("New session").click();
  assert.equal(await page.tab.getByRole("textbox", { name: "Private key" }).inputValue(), "", "the form keeps no key");
  await page.button("Make a new key").click();
  await page.tab.locator(".key-outcome").getByText(/ssh-ed25519 AAAA/).waitFor();
});

test("a key that the host does not take is told before anything else is asked", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.open();
  await page.tab.getByRole("radio", { name: "Key", exact: true }).check();
  await page.tab.getByRole("textbox", { name: "Private key" }).fill(newKey(page.sshd.path("stranger"), "stranger").privateKey);
  await page.connect();
  await page.button("Yes, connect").click();
  const asked = page.tab.getByRole("dialog", { name: "Password" });
  await asked.getByText(/has not taken the key SHA256:/).waitFor();
  await page.accessible("refused key");
  await page.picture("key-refused");
  // Given up, and connected again: the first line of the shell is that of the terminal.
  await page.tab.keyboard.press("Escape");
  await page.state("closed");
  await page.button("Connect again").click();
  await asked.waitFor();
  await page.tab.keyboard.type(page.sshd.password);
  await page.tab.keyboard.press("Enter");
  await page.connected();
  await page.sees("$ ");
  assert.match((await page.screen()).split("\n")[0], /\$/);
});

test("what is typed while it connects is for the shell that comes", async (t) => {
  const page = await visit(t, { stored: drawn });
  const hostKey = readFileSync(page.sshd.path("host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
  await page.open();
  await page.tab.evaluate((line) => { localStorage["wsproxy.known_hosts"] = line; }, `[127.0.0.1]:${page.sshd.port} ${hostKey}\n`);
  await page.tab.reload();
  await page.tab.locator("input[name=password]").fill(page.sshd.password);
  await page.connect();
  await page.type("echo early-$((1+1))\r");
  await page.connected();
  await page.sees("early-2");
  const [first] = (await page.screen()).split("early-2");
  assert.ok(first.includes("echo early-$((1+1))"), first);
});

test("every failure has its words and a way on", async (t) => {
  const page = await visit(t, { stored: drawn, settings: { auth: true } });
  await page.open();
  await page.tab.getByLabel("Port", { exact: true }).fill("1");
  await page.connect();
  await page.tab.getByRole("dialog", { name: "This server asks for a token" }).waitFor();
  await page.picture("token");
  await page.tab.keyboard.type("a.made-up.token");
  await page.tab.keyboard.press("Enter");
  await page.state("closed");
  assert.match(await page.tab.locator(".state").textContent(), /The host can't be reached/);
  await page.picture("unreachable");
  await page.button("Change").click();
  assert.equal(await page.tab.getByLabel("Port", { exact: true }).inputValue(), "1");
  assert.ok(!page.tab.url().includes("token"));
});

test("a phone has a bar of keys, and nothing that sticks out", async (t) => {
  const page = await visit(t, { stored: drawn, context: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } });
  await page.open();
  await page.picture("phone-form");
  await page.login();
  await page.type("sleep 1000\r");
  await page.tab.getByRole("button", { name: "Ctrl, for the next key" }).tap();
  await page.type("c");
  await page.sees("^C");
  await page.type("echo");
  for (const name of ["Vertical bar", "Slash", "Tilde", "Left", "Esc"]) await page.button(name).tap();
  await page.sees("echo|/~");
  await page.button("Ctrl, for the next key").tap();
  await page.type("c");
  await page.type("ls /\r");
  await page.sees("usr");
  assert.equal(await page.tab.evaluate(() => document.documentElement.scrollWidth), 390);
  await page.picture("phone");
  await page.accessible("phone");
});

test("text that keyboards compose arrives once, whatever they send", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.login();
  await page.type("cat > typed\r");
  const keyboard = await page.tab.context().newCDPSession(page.tab);
  // A word as Android's keyboards compose it, then a correction of it.
  const compose = (text) => keyboard.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
  const composed = page.tab.locator(".composed", { hasText: "t" });
  await eventually("the browser composes in the field", async () => {
    await compose("t");
    return composed.isVisible();
  });
  for (const text of ["te", "teh"]) await compose(text);
  await page.tab.locator(".composed", { hasText: "teh" }).waitFor();
  await keyboard.send("Input.insertText", { text: "the " });
  // Chinese by its sounds, and an emoji from a picker.
  for (const text of ["n", "ni", "ni hao"]) await compose(text);
  await keyboard.send("Input.insertText", { text: "你好" });
  await keyboard.send("Input.insertText", { text: "😀" });
  await page.type("\rdone\r");
  await page.tab.keyboard.press("Control+d");
  await page.type("wc -l typed; md5sum < typed\r");
  await page.sees("2 typed");
  const { createHash } = await import("node:crypto");
  await page.sees(createHash("md5").update("the 你好😀\ndone\n").digest("hex"));
});

test("typing on a slow network is shown at once, underlined, and no password is", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.login();
  page.site.delay(120);
  const guess = page.tab.locator(".predicted .guess");
  await page.type("echo a");
  await page.sees("echo a");
  for (let i = 0; i < 5 && !await guess.count(); i++) {
    await page.type("bc");
    await page.tab.waitForTimeout(20);
  }
  assert.ok(await guess.count() > 0, "what is typed is shown before its echo");
  await page.tab.waitForFunction(() => document.querySelectorAll(".predicted .guess").length === 0);
  await page.type("\r");
  await page.type("read -s secret\r");
  await page.tab.waitForTimeout(600);
  for (const letter of "hunter2") {
    await page.type(letter);
    assert.equal(await guess.count(), 0);
  }
});

test("much output neither freezes the page nor keeps a key from the host, and a large paste arrives whole", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab } = page;
  await page.login();
  await tab.evaluate(() => {
    globalThis.longest = 0;
    let before = performance.now();
    setInterval(() => {
      globalThis.longest = Math.max(globalThis.longest, performance.now() - before);
      before = performance.now();
    }, 20);
  });
  await page.type("head -c 20000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo end-$((1+1))\r");
  await page.sees("end-2");
  t.diagnostic(`the page was busy for ${Math.round(await tab.evaluate(() => globalThis.longest))} ms at most`);
  await page.type("yes\r");
  await page.sees("y\ny\ny");
  await tab.keyboard.press("Control+c");
  await page.sees("^C");
  await page.type("stty -echo; echo ready-$((1+1)); cat > pasted\r");
  await page.sees("ready-2"); // and bash has turned off bracketed paste, which nobody is asked about
  const text = Array.from({ length: 20_000 }, (_, i) => `${i} ${"paste ".repeat(8)}`).join("\n");
  await tab.evaluate((text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    document.querySelector(".xterm-helper-textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
  await tab.getByRole("dialog", { name: "Paste several lines?" }).getByRole("button", { name: "Paste" }).click();
  await page.type("\r");
  await tab.keyboard.press("Control+d");
  await page.type("stty echo; md5sum < pasted\r");
  const { createHash } = await import("node:crypto");
  await page.sees(createHash("md5").update(`${text}\n`).digest("hex"));
});

test("search, tabs and the page's own keys", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab } = page;
  await page.login();
  await page.type("printf '\\e]8;;https://example.com/there\\e\\\\a-link\\e]8;;\\e\\\\\\n'\r");
  await page.sees("\na-link");
  const { x, y } = await tab.locator(".xterm-rows > div", { hasText: /^a-link\s*$/ }).boundingBox();
  await tab.mouse.move(x + 20, y + 5);
  await tab.waitForFunction(() => document.querySelector(".terminal").title === "https://example.com/there");
  await page.type("echo needle; echo needle\r");
  await page.sees("needle\nneedle");
  await tab.keyboard.press("Control+Shift+F");
  await tab.getByRole("searchbox").fill("needle");
  await tab.locator(".found", { hasText: "of 4" }).waitFor();
  await page.accessible("search");
  await page.picture("search");
  await tab.keyboard.press("Escape");
  const rows = await tab.evaluate(() => document.querySelectorAll(".xterm-rows > div").length);
  await tab.keyboard.press("Control+Shift+=");
  await tab.waitForFunction((rows) => document.querySelectorAll(".xterm-rows > div").length < rows, rows);
  await page.type("stty size\r");
  await page.sees(`${await tab.evaluate(() => document.querySelectorAll(".xterm-rows > div").length)} `);
  await tab.keyboard.press("Shift+F6");
  assert.equal(await tab.evaluate(() => document.activeElement.getAttribute("role")), "tab");
  await page.button("New session").click();
  await page.connect();
  await tab.getByRole("dialog", { name: "Password" }).waitFor();
  await tab.keyboard.type(page.sshd.password);
  await tab.keyboard.press("Enter");
  await eventually("two sessions", async () => await tab.locator('.tab[data-state="connected"]').count() === 2);
  await page.type("echo second\r");
  await page.sees("second");
  await tab.keyboard.press("Alt+PageUp");
  await page.sees("needle");
  await tab.keyboard.press("Shift+F6");
  await tab.keyboard.press("Delete");
  await tab.getByRole("alertdialog").getByRole("button", { name: "Close" }).click();
  await eventually("one session", async () => await tab.locator(".tab").count() === 1);
});
