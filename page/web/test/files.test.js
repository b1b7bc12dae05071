// Files over SFTP, in a real Chromium against a real sshd.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync, chmodSync, chownSync } from "node:fs";
import { test } from "node:test";
import { startCutter } from "../../../client/js/test/support/cutter.js";
import { eventually } from "../../../client/js/test/support/wait.js";
import { connect, options, setup } from "./support/session.js";

const MiB = 1 << 20;
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A session with a file transfer, state.sftp. */
async function open(t, { cuts = false } = {}) {
  const rig = await setup(t);
  const line = cuts ? await startCutter(t, rig.server) : rig.line;
  await connect(rig.page, { ...options(rig.sshd, line), keys: [{ privateKey: rig.sshd.privateKey }] });
  await rig.page.run(async ({ state }) => { state.sftp = await state.session.sftp(); });
  const write = (name, bytes) => {
    writeFileSync(`${rig.sshd.home}/${name}`, bytes);
    chownSync(`${rig.sshd.home}/${name}`, statSync(rig.sshd.home).uid, statSync(rig.sshd.home).gid);
  };
  return { ...rig, line, write, read: (name) => readFileSync(`${rig.sshd.home}/${name}`) };
}

test("50 MB go both ways with equal hashes", async (t) => {
  const { page, read, sshd } = await open(t);
  const got = await page.run(async ({ state, randomBytes, sha256 }) => {
    const { sftp } = state;
    const bytes = randomBytes(50 << 20);
    const progress = [];
    const began = performance.now();
    await sftp.upload("up.bin", new Blob([bytes]), { onProgress: ({ done, total }) => progress.push([done, total]) });
    const up = performance.now() - began;
    const parts = [];
    const downProgress = [];
    for (let reader = sftp.download("up.bin", { onProgress: (p) => downProgress.push([p.done, p.total]) }).getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
    }
    const down = performance.now() - began - up;
    const back = new Uint8Array(await new Blob(parts).arrayBuffer());
    return { sent: await sha256(bytes), back: await sha256(back), up, down, progress, downProgress: [downProgress[0], downProgress.at(-1)] };
  });
  t.diagnostic(`50 MB up in ${Math.round(got.up)} ms, down in ${Math.round(got.down)} ms`);
  assert.equal(got.back, got.sent);
  assert.equal(digest(read("up.bin")), got.sent);
  assert.equal(existsSync(`${sshd.home}/up.bin.part`), false);
  const whole = 50 * MiB;
  assert.deepEqual([got.progress.at(-1), got.downProgress], [[whole, whole], [[0, whole], [whole, whole]]]);
  assert.ok(got.progress.every(([done], i, all) => i === 0 || done >= all[i - 1][0]), "progress goes forward");
});

test("folders and files: list, stat, mkdir, rename, remove, links", async (t) => {
  const { page, write, sshd } = await open(t);
  write("grüße 1.txt", "hello");
  mkdirSync(`${sshd.home}/folder/inner`, { recursive: true });
  writeFileSync(`${sshd.home}/folder/inner/x`, "x");
  symlinkSync("grüße 1.txt", `${sshd.home}/link`);
  mkdirSync(`${sshd.home}/closed`);
  chmodSync(`${sshd.home}/closed`, 0o700); // root's
  const got = await page.run(async ({ state, outcome }) => {
    const { sftp } = state;
    const home = await sftp.realPath(".");
    const entries = await sftp.list(home);
    await sftp.mkdir(`${home}/new`);
    await sftp.rename(`${home}/grüße 1.txt`, `${home}/new/other.txt`);
    const stat = await sftp.stat(`${home}/new/other.txt`);
    return {
      home, entries, stat,
      exists: await outcome(sftp.mkdir(`${home}/new`)),
      overwrite: await outcome(sftp.rename(`${home}/new`, `${home}/folder`)),
      missing: await outcome(sftp.stat(`${home}/nothing`)),
      denied: await outcome(sftp.list(`${home}/closed`)),
      full: await outcome(sftp.remove(`${home}/new`)),
      removed: await outcome(sftp.remove(`${home}/new`, { recursive: true })),
      nothing: await outcome(sftp.download(`${home}/nothing`).getReader().read()),
      upload: await outcome(sftp.upload("/nowhere/file", new Blob(["x"]))),
    };
  });
  assert.equal(got.home, sshd.home);
  const of = (name) => got.entries.find((entry) => entry.name === name);
  assert.deepEqual([of("grüße 1.txt").type, of("grüße 1.txt").size, of("folder").type, of("link").type, of("link").target],
    ["file", 5, "directory", "link", "grüße 1.txt"]);
  assert.ok(Math.abs(of("grüße 1.txt").modified - Date.now()) < 600_000);
  assert.equal(got.stat.size, 5);
  for (const [name, code] of [["exists", "exists"], ["overwrite", "exists"], ["missing", "not_found"], ["denied", "permission"], ["nothing", "not_found"], ["upload", "not_found"]]) {
    assert.equal(got[name].error?.code, code, `${name}: ${JSON.stringify(got[name])}`);
    t.diagnostic(`${name}: ${got[name].error.message}`);
  }
  assert.ok(got.full.error, "a full folder is not removed just so");
  assert.equal(got.removed.error, undefined);
});

test("an upload that was cut goes on where it was", async (t) => {
  const { page, read, sshd } = await open(t);
  const got = await page.run(async ({ state, randomBytes, sha256, outcome }) => {
    const bytes = randomBytes(20 << 20);
    state.blob = new Blob([bytes]);
    const stop = new AbortController();
    const cut = await outcome(state.sftp.upload("r.bin", state.blob, {
      signal: stop.signal, onProgress: ({ done }) => { if (done > 6 << 20) stop.abort(new DOMException("no", "AbortError")); },
    }));
    return { cut, hash: await sha256(bytes) };
  });
  assert.equal(got.cut.error?.name, "AbortError");
  assert.equal(existsSync(`${sshd.home}/r.bin`), false);
  await eventually("the part is there", () => existsSync(`${sshd.home}/r.bin.part`));
  const { size } = statSync(`${sshd.home}/r.bin.part`);
  assert.ok(size > MiB && size < 20 * MiB, `${size} bytes`);
  const first = await page.run(async ({ state }) => {
    const done = [];
    await state.sftp.upload("r.bin", state.blob, { resume: true, onProgress: (p) => done.push(p.done) });
    return done[0];
  });
  assert.ok(first >= MiB, `it began at ${first}`);
  assert.equal(digest(read("r.bin")), got.hash);
});

test("streams: an upload of unknown length, a download from an offset, one that is cancelled", async (t) => {
  const { page, read, write } = await open(t);
  const bytes = randomBytes(9 * MiB);
  write("d.bin", bytes);
  const got = await page.run(async ({ state, sha256, readAll }) => {
    const tail = await readAll(state.sftp.download("d.bin", { from: 4 << 20 }));
    await state.sftp.upload("u.bin", state.sftp.download("d.bin")); // one into the other
    let pieces = 0;
    const slow = state.sftp.download("d.bin").getReader();
    await slow.read();
    await slow.cancel();
    const stop = new AbortController();
    const aborted = state.sftp.download("d.bin", { signal: stop.signal }).getReader();
    await aborted.read();
    stop.abort(new Error("no more"));
    let error;
    try {
      for (;;) {
        if ((await aborted.read()).done) break;
        pieces++;
      }
    } catch (e) {
      error = e.message;
    }
    await state.sftp.upload("empty", new Blob([]));
    const empty = await readAll(state.sftp.download("empty"));
    return { tail: await sha256(tail), error, empty: empty.length, entries: (await state.sftp.list(".")).length };
  });
  assert.equal(got.tail, digest(bytes.subarray(4 * MiB)));
  assert.equal(digest(read("u.bin")), digest(bytes));
  assert.deepEqual([got.error, got.empty], ["no more", 0]);
  assert.ok(got.entries > 2);
});

test("a download whose reader is slow holds the host up, and others go on", async (t) => {
  const { page, write } = await open(t);
  write("big.bin", randomBytes(30 * MiB));
  const got = await page.run(async ({ state, readAll }) => {
    const slow = state.sftp.download("big.bin").getReader();
    await slow.read();
    const other = await readAll(state.sftp.download("big.bin"));
    const memory = performance.memory?.usedJSHeapSize;
    let bytes = 0;
    for (;;) {
      const { done, value } = await slow.read();
      if (done) break;
      bytes += value.length;
    }
    return { other: other.length, bytes, memory };
  });
  assert.equal(got.other, 30 * MiB);
  assert.ok(got.bytes > 29 * MiB, `${got.bytes}`);
});

test("transfers go on when the line was cut", async (t) => {
  const { page, line, read } = await open(t, { cuts: true });
  const result = page.run(async ({ state, randomBytes, sha256, readAll }) => {
    const bytes = randomBytes(24 << 20);
    state.progress = 0;
    await state.sftp.upload("c.bin", new Blob([bytes]), { onProgress: ({ done }) => { state.progress = done; } });
    return [await sha256(bytes), await sha256(await readAll(state.sftp.download("c.bin")))];
  });
  for (const least of [2, 12]) {
    await page.run(async ({ state }, least) => {
      while (!(state.progress > least)) await new Promise((resolve) => setTimeout(resolve, 5));
    }, least * MiB);
    line.cut("rst");
  }
  const [sent, back] = await result;
  assert.equal(back, sent);
  assert.equal(digest(read("c.bin")), sent);
  assert.ok(line.cuts.rst >= 2);
});

test("the session's end is the transfer's, with a sentence", async (t) => {
  const { page, write } = await open(t);
  write("big.bin", randomBytes(20 * MiB));
  const got = await page.run(async ({ state, outcome }) => {
    const reader = state.sftp.download("big.bin").getReader();
    await reader.read();
    state.session.close();
    await state.session.ended;
    const rest = await outcome((async () => { while (!(await reader.read()).done); })());
    return [rest, await outcome(state.sftp.list("."))];
  });
  for (const { error } of got) assert.match(error?.message ?? "", /^[A-Z].*\.$/);
});
