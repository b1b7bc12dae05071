import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

const { Transfer, Transfers } = await load("src/app/files/transfers.ts");
const { formatSize, formatDuration, formatMode, joinPath, parentPath } = await load("src/app/files/format.ts");

/** A transfer that ends when the test says so. */
function held(name) {
  const runs = [];
  const mover = { run: (onProgress, signal) => new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    runs.push({ onProgress, resolve, reject });
  }) };
  return { transfer: new Transfer("upload", name, mover), runs };
}

// What movers need of a browser, and what was handed over in the end.
let handedOver;
globalThis.window = {};
globalThis.document = { createElement: () => ({ click() {} }) };
URL.createObjectURL = (blob) => {
  handedOver = blob;
  return "blob:";
};
const { downloadOf } = await load("src/app/files/movers.ts");

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("three run at once, the others wait their turn", async () => {
  const transfers = new Transfers(() => {});
  const all = ["a", "b", "c", "d"].map(held);
  for (const { transfer } of all) transfers.add(transfer);
  assert.deepEqual(all.map(({ transfer }) => transfer.state), ["running", "running", "running", "waiting"]);
  all[1].runs[0].resolve();
  await settled();
  assert.deepEqual(all.map(({ transfer }) => transfer.state), ["running", "done", "running", "running"]);
  assert.ok(transfers.isBusy);
});

test("what was cancelled or has failed goes on; a failure keeps its words", async () => {
  const transfers = new Transfers(() => {});
  const { transfer, runs } = held("a");
  transfers.add(transfer);
  transfers.cancel(transfer);
  assert.equal(transfer.state, "cancelled");
  transfers.resume(transfer); // before the first try has come to its end
  assert.equal(transfer.state, "waiting");
  await settled();
  runs[1].reject(new Error("The disk is full."));
  await settled();
  assert.deepEqual([transfer.state, transfer.error], ["failed", "The disk is full."]);
  transfers.clear();
  assert.equal(transfers.all.length, 1, "a failure stays");
  transfers.resume(transfer);
  runs[2].resolve();
  await settled();
  assert.equal(transfer.state, "done");
  transfers.clear();
  assert.equal(transfers.all.length, 0);
});

test("dismissing throws away what is there, but nothing that is done", async () => {
  let discarded = 0;
  const transfers = new Transfers(() => {});
  const of = (run) => new Transfer("download", "x", { run, discard: async () => { discarded++; } });
  const done = of(async () => {}), failed = of(async () => { throw new Error("no"); });
  transfers.add(done);
  transfers.add(failed);
  await settled();
  transfers.dismiss(done);
  assert.equal(discarded, 0);
  transfers.dismiss(failed);
  assert.equal(discarded, 1);
});

test("rate and time left", () => {
  let now = 0;
  const transfer = new Transfer("upload", "x", { run: async () => {} }, () => now);
  now = 1000;
  transfer.progress(0, 1000);
  now = 2000;
  transfer.progress(500, 1000);
  assert.equal(transfer.rate, 500);
  assert.equal(transfer.left, 1);
});

test("sizes, times and modes as people read them", () => {
  assert.deepEqual([999, 1000, 9_949, 123_456, 999_500, 5e9].map(formatSize), ["999 B", "1.0 kB", "9.9 kB", "123 kB", "1.0 MB", "5.0 GB"]);
  assert.deepEqual([0, 59.6, 3599, 7260, NaN].map(formatDuration), ["0 s", "1 min 0 s", "59 min 59 s", "2 h 1 min", ""]);
  assert.equal(formatMode(0o755, "directory"), "drwxr-xr-x");
  assert.equal(formatMode(0o640, "file"), "-rw-r-----");
  assert.deepEqual([joinPath("/", "a"), joinPath("/a", "b"), parentPath("/a/b/"), parentPath("/a"), parentPath("/")], ["/a", "/a/b", "/a", "/", "/"]);
});

test("a download goes on where it was, and begins anew if the file is another one by now", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let file = { text: "first file", modified: 1 }, isCut = true;
  const asked = [];
  const sftp = {
    stat: async () => ({ size: file.text.length, modified: file.modified }),
    download(path, { from }) {
      asked.push(from);
      const parts = isCut ? [file.text.slice(from, from + 3), undefined] : [file.text.slice(from)];
      return new ReadableStream({
        pull(controller) {
          if (!parts.length) return controller.close();
          const part = parts.shift();
          if (part === undefined) throw new Error("cut");
          controller.enqueue(new TextEncoder().encode(part));
        },
      }, { highWaterMark: 0 });
    },
  };
  const { mover } = await downloadOf(async () => sftp, { name: "f", path: "/f", size: 10 });
  const run = () => mover.run(() => {}, new AbortController().signal);
  await assert.rejects(run(), /cut/);
  await assert.rejects(run(), /cut/);
  file = { text: "other file", modified: 2 };
  isCut = false;
  await run();
  assert.deepEqual(asked, [0, 3, 0]);
  assert.equal(await handedOver.text(), "other file");
});
