// A real OpenSSH server on the loopback interface, with users and keys of its own.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, inTime, patience } from "../../../../client/js/test/support/wait.js";

/** The password of the user who can log in. */
const password = "correct horse";
const uid = 64_321; // nobody else's

/**
 * Starts an sshd that knows one user, who has a home and a password. It has
 * lists of users of its own, mounted for it alone, so it needs root.
 *
 * @param {import("node:test").TestContext} t it ends with the test
 * @param {{config?: string, port?: number, pam?: string, user?: string, homeAt?: string}} [options]
 *   config: more lines of sshd_config, which come first; pam: it asks as this PAM
 *   configuration says; homeAt: the folder that the user has the home at
 */
export async function startSSHD(t, { config = "", port, pam, user = "ada", homeAt } = {}) {
  if (process.getuid() !== 0) throw new Error("an sshd with a user of its own needs root");
  const directory = mkdtempSync(join(tmpdir(), "wsproxy-sshd-"));
  chmodSync(directory, 0o755);
  // A shell that was hung up may write its history into its home meanwhile.
  // Node's own retries are for the outermost folder alone.
  t.after(() => eventually("the folder is removed", () => {
    try {
      rmSync(directory, { recursive: true, force: true });
      return true;
    } catch (error) {
      if (error.code !== "ENOTEMPTY") throw error;
      return false;
    }
  }));
  const path = (name) => join(directory, name);
  const home = path("home");
  mkdirSync(join(home, ".ssh"), { recursive: true });
  const userKey = newKey(path("user"), "ada@page");
  writeFileSync(join(home, ".ssh", "authorized_keys"), userKey.publicKey);
  for (const of of [home, join(home, ".ssh"), join(home, ".ssh", "authorized_keys")]) chownSync(of, uid, uid);
  chmodSync(join(home, ".ssh"), 0o700);
  newKey(path("host"), "host");
  const hash = execFileSync("perl", ["-e", 'print crypt($ARGV[0], q($6$saltsalt$))', password], { encoding: "utf8" });
  const add = (name, line) => writeFileSync(path(name), `${readFileSync(`/etc/${name}`, "utf8")}${line}\n`, { mode: name === "shadow" ? 0o600 : 0o644 });
  add("passwd", `${user}:x:${uid}:${uid}::${homeAt ?? home}:/bin/bash`);
  add("group", `${user}:x:${uid}:`);
  add("shadow", `${user}:${hash}:19000:0:99999:7:::`);
  port ??= await freePort();
  const asks = pam ? "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes"
    : "UsePAM no\nPasswordAuthentication yes\nKbdInteractiveAuthentication no";
  writeFileSync(path("config"), `${config}
Port ${port}
ListenAddress 127.0.0.1
HostKey ${path("host")}
PidFile ${path("pid")}
${asks}
AuthorizedKeysFile .ssh/authorized_keys
Subsystem sftp internal-sftp
AllowTcpForwarding yes
PrintMotd no
PrintLastLog no
MaxStartups 100
`);
  mkdirSync("/run/sshd", { recursive: true });
  const own = { passwd: "passwd", group: "group", shadow: "shadow", ...(pam && { pam: "pam.d/sshd" }) };
  if (pam) writeFileSync(path("pam"), pam);
  const mounts = Object.entries(own).map(([name, at]) => `mount --bind ${path(name)} /etc/${at}`);
  if (homeAt) mounts.push(`mount --bind ${home} ${homeAt}`);
  const mount = mounts.join(" && ");
  const daemon = spawn("unshare", ["--mount", "sh", "-c", `${mount} && exec /usr/sbin/sshd -D -e -f ${path("config")}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  daemon.stderr.setEncoding("utf8").on("data", (text) => { log += text; });
  const exited = new Promise((resolve) => daemon.on("exit", resolve));
  const stop = async () => {
    daemon.kill();
    await inTime("sshd ends", exited);
  };
  t.after(stop);
  await listening(port, () => log);
  return {
    host: "127.0.0.1", port, user, password, home, path, stop,
    privateKey: userKey.privateKey, publicKey: userKey.publicKey,
    hostPublicKey: readFileSync(path("host.pub"), "utf8"),
    get log() { return log; },
  };
}

/** A key pair, made by OpenSSH. */
export function newKey(path, comment, { type = "ed25519", passphrase = "", format } = {}) {
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", comment, "-f", path, ...(format ? ["-m", format] : [])]);
  return { privateKey: readFileSync(path, "utf8"), publicKey: readFileSync(`${path}.pub`, "utf8") };
}

async function freePort() {
  const listener = net.createServer();
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

/** sshd says that it listens before others can connect. */
async function listening(port, log) {
  const deadline = Date.now() + patience;
  for (;;) {
    const isThere = await new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      }).on("error", () => resolve(false));
    });
    if (isThere) return;
    if (Date.now() > deadline) throw new Error(`sshd does not listen:\n${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
