// The real server, as a process of its own on the loopback interface.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { eventually, inTime } from "./wait.js";

/** Relays may lead to this machine, and tunnels work. */
const usual = {
  PORT: "0",
  BIND: "127.0.0.1",
  LOG_LEVEL: "debug",
  BLOCKED_TARGETS: "none",
  MAX_CONNS_PER_IP: "0",
  TUNNEL_DOMAIN: "tunnel.localhost",
  TUNNEL_PUBLIC_URL: "http://*.tunnel.localhost",
  TUNNEL_BIND: "127.0.0.1",
};

/**
 * Starts a server and waits until it listens. It ends with the test, which
 * fails if the log shows a panic.
 *
 * @param {import("node:test").TestContext} t
 * @param {Record<string, string>} [env] beside what is usual here
 */
export async function startServer(t, env = {}) {
  const server = new Server({ ...usual, ...rawPorts(), ...env });
  t.after(() => server.stop());
  await server.listening();
  return server;
}

/** Some ports below those that the kernel hands out. The server skips those that others hold. */
function rawPorts() {
  const first = 12_000 + 50 * Math.floor(Math.random() * 400);
  return { TUNNEL_PORT_MIN: String(first), TUNNEL_PORT_MAX: String(first + 49) };
}

class Server {
  log = "";
  #process;
  #exited;
  #address;

  constructor(env) {
    const { PATH, HOME, TMPDIR } = process.env;
    this.#process = spawn(process.env.WSPROXY_BINARY, [], {
      env: { PATH, HOME, ...(TMPDIR && { TMPDIR }), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => { this.log += text; });
    }
    this.#exited = new Promise((resolve, reject) => {
      this.#process.on("close", (code) => resolve(code)).on("error", reject);
    });
    this.#exited.catch(() => {}); // listening() tells
  }

  async listening() {
    const line = await Promise.race([
      eventually("the server listens", () => this.lines('"msg":"listening"')[0]),
      this.#exited.then((code) => { throw new Error(`the server ended with ${code}:\n${this.log}`); }),
    ]);
    this.#address = line.address;
  }

  /** The lines of the log that contain a text. */
  lines(text) {
    const complete = this.log.slice(0, this.log.lastIndexOf("\n") + 1);
    return complete.split("\n").filter((line) => line.startsWith("{") && line.includes(text)).map((line) => JSON.parse(line));
  }

  get port() {
    return Number(this.#address.split(":").pop());
  }

  get http() {
    return `http://127.0.0.1:${this.port}`;
  }

  get ws() {
    return `ws://127.0.0.1:${this.port}`;
  }

  signal(name) {
    this.#process.kill(name);
  }

  /** Resolves to the exit code. */
  exited() {
    return inTime("the server ends", this.#exited);
  }

  async kill() {
    this.signal("SIGKILL");
    await this.exited();
  }

  async stop() {
    // The second signal ends it at once. Two that come together are one to
    // the kernel, so there are more.
    const again = setInterval(() => this.signal("SIGTERM"), 50);
    this.signal("SIGTERM");
    try {
      await this.exited();
    } catch (error) {
      this.signal("SIGKILL");
      throw error;
    } finally {
      clearInterval(again);
    }
    for (const bad of ["panic", '"an actor failed"', '"a pump failed"']) {
      assert.ok(!this.log.includes(bad), `the server's log contains ${bad}:\n${this.log}`);
    }
  }
}
