// The panels beside the terminal: files, shared ports; and what is kept over a reload.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync, chownSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import test from "node:test";
import { eventually } from "../../../client/js/test/support/wait.js";
import { drawn, visit } from "./support/looks.js";

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

test("files are listed, uploaded, downloaded, renamed and deleted", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab, sshd } = page;
  const { home } = sshd;
  writeFileSync(join(home, "there.txt"), "there\n");
  mkdirSync(join(home, "folder"));
  chownSync(join(home, "there.txt"), 64_321, 64_321);
  await page.login();
  await page.button("Files").click();
  await tab.getByRole("button", { name: "there.txt", exact: true }).waitFor();
  assert.equal(await tab.getByRole("textbox", { name: "Folder" }).inputValue(), home);

  const content = randomBytes(5_000_000);
  await tab.locator(".files input[type=file]").first().setInputFiles([
    { name: "up.bin", mimeType: "application/octet-stream", buffer: content }, { name: "small.txt", mimeType: "text/plain", buffer: Buffer.from("small\n") },
  ]);
  await tab.locator(".transfer.done", { hasText: "up.bin" }).waitFor();
  await tab.locator(".transfer.done", { hasText: "small.txt" }).waitFor();
  assert.equal(hash(readFileSync(join(home, "up.bin"))), hash(content));
  assert.ok(!existsSync(join(home, "up.bin.part")));
  await page.picture("files");
  await page.accessible("files");

  const downloading = tab.waitForEvent("download");
  await page.button("Download up.bin").click();
  const download = await downloading;
  assert.equal(download.suggestedFilename(), "up.bin");
  assert.equal(hash(readFileSync(await download.path())), hash(content));

  writeFileSync(join(home, "folder", "inside.txt"), "inside\n");
  const archiving = tab.waitForEvent("download");
  await page.button("Download folder").click();
  const archived = await archiving;
  assert.equal(archived.suggestedFilename(), "folder.tar");
  assert.equal(execFileSync("tar", ["-xO", "folder/inside.txt"], { input: readFileSync(await archived.path()), encoding: "utf8" }), "inside\n");

  await page.button("Rename there.txt").click();
  await tab.getByRole("textbox", { name: "New name" }).fill("moved.txt");
  await tab.keyboard.press("Enter");
  await tab.getByRole("button", { name: "moved.txt", exact: true }).waitFor();
  assert.ok(existsSync(join(home, "moved.txt")));
  await page.button("Delete moved.txt").click();
  await tab.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
  await tab.getByRole("button", { name: "moved.txt", exact: true }).waitFor({ state: "detached" });
  assert.ok(!existsSync(join(home, "moved.txt")));

  await page.button("New folder").click();
  await tab.getByRole("textbox", { name: "Name", exact: true }).fill("made");
  await tab.keyboard.press("Enter");
  await tab.getByRole("button", { name: "made", exact: true }).click();
  await tab.getByText("Nothing here.").waitFor();
  assert.equal(await tab.getByRole("textbox", { name: "Folder" }).inputValue(), join(home, "made"));

  // What fails says why, and stays until somebody has seen it.
  await tab.getByRole("textbox", { name: "Folder" }).fill("/");
  await tab.keyboard.press("Enter");
  await tab.getByRole("button", { name: "usr", exact: true }).waitFor();
  await tab.locator(".files input[type=file]").first().setInputFiles([{ name: "refused.txt", mimeType: "text/plain", buffer: Buffer.from("x") }]);
  const failed = tab.locator(".transfer.failed", { hasText: "refused.txt" });
  await failed.waitFor();
  await page.picture("files-failed");
  await page.accessible("files with a failure");
  await failed.getByRole("button", { name: "Dismiss refused.txt" }).click();
  await failed.waitFor({ state: "detached" });
});

test("a folder that is dropped is uploaded whole", async (t) => {
  const page = await visit(t, { stored: drawn });
  await page.login();
  await page.button("Files").click();
  await page.tab.getByText("Nothing here.").waitFor();
  const source = page.sshd.path("tree");
  mkdirSync(join(source, "a", "b"), { recursive: true });
  writeFileSync(join(source, "one.txt"), "1");
  writeFileSync(join(source, "a", "b", "two.txt"), "22");
  await page.tab.locator(".files input[webkitdirectory]").setInputFiles(source);
  await page.tab.locator(".transfer.done", { hasText: "two.txt" }).waitFor();
  await page.tab.locator(".transfer.done", { hasText: "one.txt" }).waitFor();
  assert.equal(readFileSync(join(page.sshd.home, "tree", "a", "b", "two.txt"), "utf8"), "22");
  assert.equal(readFileSync(join(page.sshd.home, "tree", "one.txt"), "utf8"), "1");
});

test("a transfer is cancelled, and goes on where it was", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab, sshd } = page;
  await page.login();
  await page.button("Files").click();
  await tab.getByText("Nothing here.").waitFor();
  const content = randomBytes(40_000_000);
  page.site.delay(40);
  writeFileSync(sshd.path("long.bin"), content);
  await tab.locator(".files input[type=file]").first().setInputFiles(sshd.path("long.bin"));
  await tab.locator(".transfer.running", { hasText: "long.bin" }).getByText(/of 40 MB · .*\/s/).waitFor();
  await page.picture("transfer");
  await page.button("Cancel long.bin").click();
  await tab.locator(".transfer.cancelled").waitFor();
  page.site.delay(0);
  assert.ok(existsSync(join(sshd.home, "long.bin.part")));
  await tab.locator(".listing .entry", { hasText: "long.bin.part" }).waitFor();
  await page.button("Go on with long.bin").click();
  await tab.locator(".transfer.done", { hasText: "long.bin" }).waitFor();
  assert.equal(hash(readFileSync(join(sshd.home, "long.bin"))), hash(content));
  // Whoever dismisses what was cancelled has nothing left of it.
  page.site.delay(40);
  writeFileSync(sshd.path("other.bin"), content);
  await tab.locator(".files input[type=file]").first().setInputFiles(sshd.path("other.bin"));
  await tab.locator(".transfer.running", { hasText: "other.bin" }).getByText(/of 40 MB · .*\/s/).waitFor();
  await page.button("Cancel other.bin").click();
  const rest = tab.locator(".listing .entry", { hasText: "other.bin.part" });
  await rest.waitFor();
  await page.button("Dismiss other.bin").click();
  await rest.waitFor({ state: "detached" });
  assert.ok(!existsSync(join(sshd.home, "other.bin.part")));
});

test("a transfer that was cut with its session goes on in the next one", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab, sshd } = page;
  await page.login();
  await page.button("Files").click();
  await tab.getByText("Nothing here.").waitFor();
  const content = randomBytes(40_000_000);
  page.site.delay(40);
  writeFileSync(sshd.path("long.bin"), content);
  await tab.locator(".files input[type=file]").first().setInputFiles(sshd.path("long.bin"));
  await tab.locator(".transfer.running", { hasText: "long.bin" }).getByText(/of 40 MB · .*\/s/).waitFor();
  await page.type("exit\r");
  await tab.getByText("The session has ended", { exact: true }).waitFor();
  await tab.locator(".transfer.failed", { hasText: "long.bin" }).waitFor();
  page.site.delay(0);
  await page.button("Go on with long.bin").click();
  await tab.locator(".transfer.failed", { hasText: "Connect again first." }).waitFor();
  await page.button("Connect again").click();
  await page.connected();
  await page.button("Go on with long.bin").click();
  await tab.locator(".transfer.done", { hasText: "long.bin" }).waitFor();
  assert.equal(hash(readFileSync(join(sshd.home, "long.bin"))), hash(content));
});

test("a port of the host is shared, used and stopped", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab, server } = page;
  const origin = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
  await new Promise((resolve) => origin.listen(0, "127.0.0.1", resolve));
  t.after(() => origin.close().closeAllConnections());
  await page.login();
  await page.button("Share a port").click();
  await tab.getByLabel("Port", { exact: true }).and(tab.locator(".shares input")).fill(String(origin.address().port));
  await page.button("Share").click();
  const link = tab.locator(".share a");
  await link.waitFor();
  const { host } = new URL(await link.getAttribute("href"));
  const get = (path) => new Promise((resolve, reject) => http.get({ host: "127.0.0.1", port: server.port, path, headers: { Host: host } }, async (response) => {
    let body = "";
    for await (const piece of response) body += piece;
    resolve(body);
  }).on("error", reject));
  assert.equal(await get("/hello?secret=1"), "you asked for /hello?secret=1");
  await get("/again");
  await tab.locator(".requests td", { hasText: "/again" }).waitFor();
  await tab.locator(".requests td", { hasText: /^\/hello$/ }).waitFor();
  await eventually("the requests are counted", async () => await tab.locator(".counts dd").first().textContent() === "2");
  assert.ok(await tab.getByRole("img", { name: `QR code of http://${host}` }).count() > 0);
  await page.picture("share");
  await page.accessible("share");
  await new Promise((resolve) => origin.close(resolve).closeAllConnections());
  assert.match(await get("/nobody"), /can't reach|nothing|no service|refused/i);
  await tab.locator(".share-state", { hasText: "Nothing answers" }).waitFor();
  await page.button("Close this session").click();
  await tab.getByRole("alertdialog").getByText("So does the shared port.").waitFor();
  await tab.getByRole("alertdialog").getByRole("button", { name: "Cancel" }).click();
  await page.button("Stop").click();
  await tab.getByRole("alertdialog").getByRole("button", { name: "Stop" }).click();
  await tab.locator(".share-state.closed").waitFor();
  assert.match(await get("/hello"), /no such tunnel|not found|no tunnel/i);
});

test("a shell that outlives a reload is taken up again", async (t) => {
  const page = await visit(t, { stored: drawn });
  const other = await page.tab.context().newPage(); // keeps the worker where the browser ends it with its last page
  await other.goto(page.site.url);
  await page.login();
  await page.type("echo before-$((1+1)); n=41; printf '\\e[c'; read -rs -d c answer\r"); // asks the terminal what it is
  await page.sees("before-2");
  await page.tab.bringToFront();
  await page.tab.reload();
  await page.tab.getByText(/still runs/).waitFor();
  await page.picture("running");
  await page.button("Take it up").click();
  await page.sees("before-2");
  await page.type("echo after-$((n+1))\r");
  await page.sees("after-42");
  assert.ok(!(await page.screen()).includes("1;2c"), "what was asked long ago is not answered again");
  await page.type("exit\r");
  await page.button("Connect again").click(); // how one logged in is not known any more
  await page.tab.locator(".connect").waitFor();
  await eventually("the tab is gone", async () => await page.tab.locator(".tab").count() === 0);
});

test("places are kept with their secrets only under a passphrase", async (t) => {
  const page = await visit(t, { stored: drawn });
  const { tab, sshd } = page;
  await page.open();
  await tab.locator("input[name=password]").fill(sshd.password);
  await tab.getByText("Remember this place").click();
  await tab.getByLabel("Name", { exact: true }).fill("build box");
  await tab.getByLabel("Passphrase to keep the password or key too").fill("a passphrase");
  await page.connect();
  await page.button("Yes, connect").click();
  await page.connected();
  assert.ok(!(await tab.evaluate(() => JSON.stringify(localStorage))).includes(sshd.password));
  await page.button("New session").click();
  await tab.getByRole("button", { name: /^build box/ }).click();
  await tab.getByLabel("Passphrase", { exact: true }).fill("a passphrase");
  await tab.keyboard.press("Enter");
  await eventually("the password is filled in", async () => await tab.locator("input[name=password]").inputValue() === sshd.password);
  await page.picture("places");
  await page.accessible("places");
  await page.connect();
  await eventually("two sessions", async () => await tab.locator('.tab[data-state="connected"]').count() === 2);
});
