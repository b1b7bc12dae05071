// Files between a host's side that the test plays and a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "../support/ts.js";

const { serveFiles, SFTP } = await load("src/worker/files.ts", "src/lib/sftp.ts");

/** A file that says to have a size, and has these pieces. */
async function download(t, size, pieces, from = 0) {
  const go = {
    stat: async () => ({ size }), close() {},
    read: async (path, { from }, onChunk) => {
      for (const piece of pieces) await onChunk(new Uint8Array(piece), from);
      return { size, modified: 0 };
    },
  };
  const sftp = await SFTP.open(async (port) => { serveFiles(go, port); });
  t.after(() => sftp.close());
  let got = 0;
  for (const reader = sftp.download("/file", { from, signal: AbortSignal.timeout(5000) }).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return got;
    got += value.length;
  }
}

test("a download ends with what was sent, whatever size the host has told", async (t) => {
  assert.equal(await download(t, 0, []), 0);
  assert.equal(await download(t, 0, [300, 400]), 700, "a file without a size, as in /proc");
  assert.equal(await download(t, 500, [300, 400]), 700, "one that grew");
  assert.equal(await download(t, 500, [200], 300), 200);
});

test("a file that became shorter is an error, and no wait without end", async (t) => {
  await assert.rejects(download(t, 500, [300]), { code: "failed", message: /shorter/ });
  await assert.rejects(download(t, 2 ** 60, []), { code: "failed", message: /shorter/ });
});
