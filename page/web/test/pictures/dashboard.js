// The picture of the dashboard: deploy/grafana/wsproxy.json drawn from what a real
// Prometheus has scraped of a real server, to which this sends all sorts of traffic. It is
// not Grafana that draws, but each panel has its place, its queries and its unit.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startServer } from "../../../../client/js/test/support/server.js";
import { eventually } from "../../../../client/js/test/support/wait.js";
import { drawDashboard } from "./panels.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const WebSocket = createRequire(join(root, "client/js/package.json"))("ws");
/** How long there is traffic, in seconds. */
const length = 100;
/** In bytes. More would make the documents slow to open. */
const largest = 250_000;

const random = (least, most) => least + Math.random() * (most - least);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test("the dashboard", { timeout: (length + 120) * 1000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "wsproxy-dashboard-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const run = (...args) => execFileSync(process.env.WSPROXY_BINARY, args, { encoding: "utf8" }).trim();
  run("keygen", join(directory, "keys"));
  const token = run("token", "--key", join(directory, "keys", "private.pem"), "--sub", "alice", "--ttl", "1h");
  const metrics = await freePort();
  const server = await startServer(t, {
    LOG_LEVEL: "info", METRICS_ADDR: `127.0.0.1:${metrics}`, CLERK_JWKS_URL: `file://${directory}/keys/jwks.json`,
    BLOCKED_TARGETS: "", ALLOWED_TARGETS: "127.0.0.0/8", MAX_CONNS_PER_USER: "0",
  });
  const prometheus = await startPrometheus(t, directory, metrics);
  const traffic = new Traffic(t, server, token);
  await traffic.run(Date.now() + length * 1000);
  const drawn = await drawDashboard(JSON.parse(readFileSync(join(root, "deploy/grafana/wsproxy.json"), "utf8")), prometheus, length);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim(), args: ["--no-sandbox", "--disable-gpu"],
  });
  t.after(() => browser.close());
  const tab = await browser.newPage({ viewport: { width: 1120, height: 600 } });
  await tab.setContent(drawn);
  const path = join(root, "docs/images/dashboard.png");
  await tab.screenshot({ path, fullPage: true });
  assert.ok(statSync(path).size < largest, `dashboard.png has ${statSync(path).size} bytes`);
});

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.on("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Returns its address. */
async function startPrometheus(t, directory, metrics) {
  const port = await freePort();
  writeFileSync(join(directory, "prometheus.yml"), `
global: {scrape_interval: 1s}
scrape_configs: [{job_name: wsproxy, static_configs: [{targets: ["127.0.0.1:${metrics}"]}]}]
`);
  const child = spawn("prometheus", [`--config.file=${directory}/prometheus.yml`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("close", resolve));
  t.after(() => { child.kill(); return ended; });
  const address = `http://127.0.0.1:${port}`;
  await eventually("Prometheus answers", () => fetch(`${address}/-/ready`).then((answer) => answer.ok, () => false));
  return address;
}

/** Relays, tunnels and those who are refused, as on a day that is short. */
class Traffic {
  #server;
  #token;
  #t;

  constructor(t, server, token) {
    this.#t = t;
    this.#server = server;
    this.#token = token;
  }

  async run(until) {
    const over = () => Date.now() > until;
    const echo = net.createServer((conn) => conn.on("error", () => {}).pipe(conn)).listen(0, "127.0.0.1");
    this.#t.after(() => echo.close());
    await new Promise((resolve) => echo.on("listening", resolve));
    const target = `/relay?host=127.0.0.1&port=${echo.address().port}`;
    const all = [];
    const wave = () => 0.65 + 0.35 * Math.sin(Date.now() / 8000);
    const rest = (least, most) => sleep(Math.min(random(least, most), Math.max(0, until - Date.now())));
    const loop = (work) => all.push((async () => {
      while (!over()) await work();
    })());
    for (let i = 0; i < 24; i++) loop(async () => {
      await rest(0, 6000 / wave());
      await this.#relay(target, Math.min(random(2000, 14_000), until - Date.now()), wave);
    });
    const host = await this.#expose();
    for (let i = 0; i < 12; i++) loop(async () => {
      await rest(20, 900 / wave());
      await this.#ask(host, ["/", "/", "/", "/slow", "/big", "/missing", "/fails"][Math.floor(random(0, 6.2))]);
    });
    loop(async () => {
      await rest(700, 4000);
      await this.#ask("0123456789abcdef.tunnel.localhost", "/");
    });
    for (const path of ["/relay?host=10.1.2.3&port=22", "/relay?host=127.0.0.1&port=1", "/relay?host=nowhere.invalid&port=22", `${target}&token=wrong`, "/relay?host=&port=22"]) {
      loop(async () => {
        await rest(1500, 9000);
        await this.#relay(path, 0, wave);
      });
    }
    await Promise.all(all);
  }

  #relay(path, length, wave) {
    const url = `${this.#server.http.replace("http", "ws")}${path}${path.includes("token=") ? "" : `&token=${this.#token}`}`;
    return new Promise((resolve) => {
      const ws = new WebSocket(url);
      let ticks;
      ws.on("open", () => {
        const end = Date.now() + length;
        ticks = setInterval(() => {
          if (Date.now() < end) ws.send(Buffer.alloc(Math.floor(random(200, 60_000) * wave())));
          else if (Math.random() < 0.85) ws.close(1000);
          else ws.terminate();
        }, 120);
      });
      ws.on("error", () => {});
      ws.on("close", () => { clearInterval(ticks); resolve(); });
    });
  }

  /** Returns the host of a tunnel. */
  async #expose() {
    const service = http.createServer((request, response) => {
      const answers = {
        "/slow": () => setTimeout(() => response.end("slow"), random(80, 700)),
        "/big": () => response.end(Buffer.alloc(400_000)),
        "/missing": () => response.writeHead(404).end("missing"),
        "/fails": () => request.socket.destroy(),
      };
      (answers[request.url] ?? (() => setTimeout(() => response.end("a shop"), random(1, 12))))();
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => service.on("listening", resolve));
    const child = spawn(process.env.WSPROXY_BINARY, ["expose", "--json", this.#server.http.replace("http", "ws"), String(service.address().port)],
      { env: { ...process.env, WSPROXY_TOKEN: this.#token } });
    let out = "";
    child.stdout.on("data", (text) => { out += text; });
    this.#t.after(() => { child.kill(); service.closeAllConnections(); service.close(); });
    return eventually("the tunnel is there", () => /[0-9a-f]{16}\.tunnel\.localhost/.exec(out)?.[0]);
  }

  #ask(host, path) {
    return new Promise((resolve) => {
      http.get({ host: "127.0.0.1", port: this.#server.port, path, headers: { Host: host } }, (answer) => answer.resume().on("close", resolve)).on("error", resolve);
    });
  }
}
