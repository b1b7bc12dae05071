// A person at the page, in a real Chromium: what the tests of the looks do with it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "../../../../client/js/test/support/server.js";
import { patience } from "../../../../client/js/test/support/wait.js";
import { buildApp, serveApp } from "./app.js";
import { startSSHD } from "./sshd.js";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** Where pictures of the main states go, if anywhere. */
const pictures = process.env.PAGE_SCREENSHOTS;

let app, browser;

before(async () => {
  app = await buildApp();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  if (pictures) mkdirSync(pictures, { recursive: true });
});

after(async () => {
  await browser?.close();
  app?.remove();
});

/**
 * A page at a server of its own, with an sshd. It fails the test for what
 * breaks the page's policy and for errors that nobody caught.
 *
 * @param {import("node:test").TestContext} t
 * @param {{settings?: object, server?: object, sshd?: object, context?: object, stored?: Record<string, unknown>}} [options]
 *   settings: of the page's server; stored: what the browser has kept for the page
 */
export async function visit(t, { settings, server: env, sshd: sshdOptions, context: contextOptions, stored } = {}) {
  const sshd = await startSSHD(t, sshdOptions);
  const server = await startServer(t, env);
  const site = await serveApp(app, server, settings);
  t.after(() => site.close());
  const context = await browser.newContext({ viewport: { width: 1200, height: 750 }, acceptDownloads: true, ...contextOptions });
  t.after(() => context.close());
  context.setDefaultTimeout(patience);
  await context.addInitScript((stored) => {
    globalThis.showSaveFilePicker = globalThis.showDirectoryPicker = undefined; // nobody is there to choose
    for (const [key, value] of Object.entries(stored)) localStorage[`wsproxy.${key}`] ??= typeof value === "string" ? value : JSON.stringify(value);
  }, stored ?? {});
  const tab = await context.newPage();
  const errors = [];
  tab.on("pageerror", (error) => errors.push(error.stack));
  tab.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) errors.push(message.text());
  });
  t.after(() => assert.deepEqual(errors, [], "errors in the page"));
  return new Visit(tab, { sshd, server, site });
}

class Visit {
  constructor(tab, { sshd, server, site }) {
    Object.assign(this, { tab, sshd, server, site });
  }

  /** Goes to the page by a link that fills the form. */
  async open() {
    const { sshd, site } = this;
    await this.tab.goto(`${site.url}#ssh://${sshd.user}@${sshd.host}:${sshd.port}`);
    await this.tab.locator(".connect").waitFor();
  }

  button(name) {
    return this.tab.getByRole("button", { name, exact: true });
  }

  async connect() {
    await this.tab.locator(".connect-button").click();
  }

  /** Logs in with the password, accepts the host's key, and waits for the shell. */
  async login() {
    await this.open();
    await this.tab.getByLabel("Password", { exact: true }).and(this.tab.locator("input[name=password]")).fill(this.sshd.password);
    await this.connect();
    await this.button("Yes, connect").click();
    await this.connected();
    await this.sees("$ ");
  }

  async connected() {
    await this.state("connected");
  }

  async state(name) {
    await this.tab.locator(`.tab[data-state="${name}"]`).waitFor();
  }

  async type(text) {
    await this.tab.locator(".session:not([hidden]) .xterm-helper-textarea").focus();
    await this.tab.keyboard.type(text);
  }

  /** Waits until the terminal shows a text. Needs the elements' drawing, see `drawn`. */
  async sees(text) {
    await this.tab.waitForFunction((text) => {
      const rows = [...document.querySelectorAll(".session:not([hidden]) .xterm-rows > div")];
      return rows.map((row) => row.textContent).join("\n").includes(text);
    }, text, { timeout: patience });
  }

  screen() {
    return this.tab.evaluate(() => [...document.querySelectorAll(".session:not([hidden]) .xterm-rows > div")].map((row) => row.textContent).join("\n"));
  }

  async picture(name) {
    if (pictures) await this.tab.screenshot({ path: join(pictures, `${name}.png`) });
  }

  /** Fails for whatever keeps people out, in the colours that the page has now. */
  async accessible(what) {
    // The policy allows no script of the page's to be added, but the browser's own tools may.
    await this.tab.evaluate(await (await import("node:fs/promises")).readFile(axe, "utf8"));
    const found = await this.tab.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ["violations"] })).violations
      .map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any.concat(node.all, node.none)[0]?.message ?? ""}`) })));
    assert.deepEqual(found.filter(({ impact }) => impact === "serious" || impact === "critical"), [], what);
  }
}

/** Settings with which the terminal's text can be read. */
export const drawn = { settings: { webgl: false } };
