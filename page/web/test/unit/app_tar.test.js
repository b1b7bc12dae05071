import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { load } from "../support/ts.js";

const { archive } = await load("src/app/files/tar.ts");

/** Files of a host: folders are objects, files texts. */
function hostOf(tree) {
  const at = (path) => path.split("/").filter(Boolean).reduce((node, name) => node[name], tree);
  const entry = (path, name, node) => ({
    name, path, type: typeof node === "string" ? "file" : "directory", size: node.length ?? 0, mode: typeof node === "string" ? 0o600 : 0o755, modified: 1e12,
  });
  return {
    list: async (path) => Object.entries(at(path)).map(([name, node]) => entry(`${path}/${name}`, name, node)),
    download: (path) => new Blob([at(path)]).stream(),
    entry,
  };
}

async function unpack(t, sftp, folder) {
  const pieces = [];
  for await (const bytes of archive(sftp, folder, new AbortController().signal)) pieces.push(bytes);
  const directory = mkdtempSync(join(tmpdir(), "wsproxy-tar-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  execFileSync("tar", ["-x", "-C", directory], { input: Buffer.concat(pieces) });
  return directory;
}

test("a folder is an archive that tar unpacks, with long and foreign names", async (t) => {
  const long = "long-".repeat(40);
  const tree = { top: { "a.txt": "hello", empty: "", "grün.txt": "x".repeat(512), sub: { [long]: "y".repeat(513) } } };
  const sftp = hostOf(tree);
  const directory = await unpack(t, sftp, sftp.entry("/top", "top", tree.top));
  const read = (...path) => readFileSync(join(directory, "top", ...path), "utf8");
  assert.deepEqual([read("a.txt"), read("empty"), read("grün.txt").length, read("sub", long).length], ["hello", "", 512, 513]);
  const { mode, mtimeMs } = statSync(join(directory, "top", "a.txt"));
  assert.deepEqual([mode & 0o777, mtimeMs], [0o600, 1e12]);
});

test("a file that changes its size meanwhile is cut, or fails", async (t) => {
  const tree = { top: { f: "12345" } };
  const sftp = hostOf(tree);
  const list = sftp.list;
  const sized = (size) => ({ ...sftp, list: async (path) => (await list(path)).map((entry) => ({ ...entry, size })) });
  const directory = await unpack(t, sized(3), sftp.entry("/top", "top", tree.top));
  assert.equal(readFileSync(join(directory, "top", "f"), "utf8"), "123");
  await assert.rejects(unpack(t, sized(9), sftp.entry("/top", "top", tree.top)), /became shorter/);
});
