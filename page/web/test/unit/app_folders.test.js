// Downloads of whole folders, from a host that is no friend.
import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

globalThis.window ??= globalThis;

/** A folder as a browser gives it to a page, which takes no name that leads elsewhere. */
function folderOf() {
  const folder = {
    folders: new Map(), files: new Map(),
    async getDirectoryHandle(name) {
      named(name);
      if (!folder.folders.has(name)) folder.folders.set(name, folderOf());
      return folder.folders.get(name);
    },
    async getFileHandle(name) {
      named(name);
      folder.files.set(name, (folder.files.get(name) ?? 0) + 1);
      return {};
    },
  };
  return folder;
}

// As Chromium has it.
function named(name) {
  if (name === "" || name === "." || name === ".." || /[\x00-\x1f\x7f"*/:<>?\\|]/.test(name) || /[. ]$/.test(name)) throw new TypeError("Name is not allowed.");
}

const entry = (path, name, type = "file") => ({ name, path: `${path}/${name}`, type, size: 1, mode: 0o644, modified: 0 });

async function download(list) {
  const chosen = folderOf();
  globalThis.showDirectoryPicker = async () => chosen;
  const { downloadFolder } = await load("src/app/files/movers.ts");
  const added = [];
  const outcome = await downloadFolder(async () => ({ list: async (path) => list(path) }), entry("", "a:b", "directory"), (transfer) => added.push(transfer))
    .then(() => "done", (error) => error.message);
  return { chosen, added, outcome };
}

test("names that a disk can't have get others, and no two files become one", async () => {
  const names = ["a:b", "a_b", "a\\b", "new\nline", "what?", "dot.", "A_b", "plain", ".hidden"];
  const { chosen, added, outcome } = await download(() => names.map((name) => entry("/f", name)));
  assert.equal(outcome, "done");
  assert.deepEqual([...chosen.folders.keys()], ["a_b"]);
  const { files } = chosen.folders.get("a_b");
  assert.equal(added.length, names.length);
  assert.deepEqual([...files.values()], names.map(() => 1), "each has its own");
  assert.equal(new Set([...files.keys()].map((name) => name.toLowerCase())).size, names.length, [...files.keys()].join());
  assert.ok(files.has("plain") && files.has(".hidden"));
});

test("folders within folders without end are an error", async () => {
  const { outcome } = await download((path) => [entry(path, "again", "directory")]);
  assert.match(outcome, /nested/);
});
