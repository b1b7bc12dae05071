// How single files and folders are moved, over SFTP.
import type { FileEntry, SFTP } from "../../lib/index.ts";
import { joinPath } from "./format.ts";
import { type Sink, chooseFolder, chooseSink, sinkIn } from "./save.ts";
import { DEEPEST, archive } from "./tar.ts";
import { type Mover, Transfer } from "./transfers.ts";

/** Gives the file transfer, a new one if the last has ended. */
export type Opener = () => Promise<SFTP>;

export function uploadOf(open: Opener, path: string, file: File): Transfer {
  let isTried = false;
  const mover: Mover = {
    async run(onProgress, signal) {
      const sftp = await open();
      const resume = isTried;
      isTried = true;
      await sftp.upload(path, file, { resume, signal, onProgress: ({ done, total }) => onProgress(done, total) });
    },
    discard: async () => isTried ? (await open()).remove(`${path}.part`) : undefined,
  };
  return new Transfer("upload", file.name, mover);
}

/** To be called in a click; undefined if the person gave up. */
export async function downloadOf(open: Opener, entry: FileEntry): Promise<Transfer | undefined> {
  const sink = await chooseSink(entry.name, entry.size);
  return sink && new Transfer("download", entry.name, downloadMover(open, entry.path, sink));
}

function downloadMover(open: Opener, path: string, sink: Sink): Mover {
  let begun = ""; // what the file was when the kept bytes were read
  return {
    async run(onProgress, signal) {
      const sftp = await open();
      const { size, modified } = await sftp.stat(path);
      // The rest of another file would not fit to what is there.
      if (begun !== `${size} ${modified}`) await sink.restart();
      begun = `${size} ${modified}`;
      const reader = sftp.download(path, { from: sink.length, signal, onProgress: ({ done, total }) => onProgress(done, total) }).getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          await sink.write(value);
        }
      } catch (error) {
        await reader.cancel(error).catch(() => undefined);
        await sink.pause();
        throw error;
      }
      await sink.finish();
    },
    discard: () => sink.discard(),
  };
}

/** A folder as one archive, for browsers that let a page write no folders. It can't go on where it was. */
export async function archiveOf(open: Opener, entry: FileEntry): Promise<Transfer | undefined> {
  const name = `${entry.name}.tar`;
  const sink = await chooseSink(name, 0);
  return sink && new Transfer("download", name, {
    async run(onProgress, signal) {
      await sink.restart();
      try {
        for await (const bytes of archive(await open(), entry, signal)) {
          await sink.write(bytes);
          onProgress(sink.length, NaN);
        }
      } catch (error) {
        await sink.pause();
        throw error;
      }
      await sink.finish();
    },
    discard: () => sink.discard(),
  });
}

/** Downloads a folder into one that the person chooses. Links are left out: they may lead anywhere. */
export async function downloadFolder(open: Opener, entry: FileEntry, add: (transfer: Transfer) => void): Promise<void> {
  const target = await chooseFolder();
  if (!target) return;
  const walk = async (path: string, folder: FileSystemDirectoryHandle, depth: number): Promise<void> => {
    if (depth > DEEPEST) throw new Error(`${entry.name} is nested too deeply to be downloaded.`);
    const taken = new Map<string, number>();
    for (const child of await (await open()).list(path)) {
      if (child.type !== "directory" && child.type !== "file") continue;
      const name = localName(child.name, taken);
      if (child.type === "directory") await walk(child.path, await folder.getDirectoryHandle(name, { create: true }), depth + 1);
      else add(new Transfer("download", child.name, downloadMover(open, child.path, await sinkIn(folder, name))));
    }
  };
  await walk(entry.path, await target.getDirectoryHandle(localName(entry.name, new Map()), { create: true }), 0);
}

/** A name that every system's disk can have, and no other of the folder has: not all tell capitals from small letters. */
function localName(name: string, taken: Map<string, number>): string {
  const allowed = name.replace(/[\x00-\x1f\x7f"*/:<>?\\|]/g, "_").replace(/[. ]$/, "_");
  const first = allowed.toLowerCase();
  let free = allowed, n = taken.get(first) ?? 1;
  while (taken.has(free.toLowerCase())) free = `${allowed}_${++n}`;
  taken.set(first, n); // where to go on: a host can have a great many of them
  taken.set(free.toLowerCase(), taken.get(free.toLowerCase()) ?? 1);
  return free;
}

/** A file on its way up, with its path below the folder that was dropped. */
export interface Dropped {
  /** Folders above it, outermost first. */
  folders: string[];
  file: File;
}

/** Uploads files, making their folders first. Folders that are there already are used. */
export async function uploadAll(open: Opener, folder: string, dropped: Dropped[], empty: string[][], add: (transfer: Transfer) => void): Promise<void> {
  const made = new Set<string>();
  const make = async (folders: string[]): Promise<string> => {
    let path = folder;
    for (const name of folders) {
      path = joinPath(path, name);
      if (made.has(path)) continue;
      made.add(path);
      const sftp = await open();
      await sftp.mkdir(path).catch(async (error: unknown) => {
        const there = await sftp.stat(path).catch(() => undefined);
        if (there?.type !== "directory") throw error;
      });
    }
    return path;
  };
  for (const folders of empty) await make(folders);
  for (const { folders, file } of dropped) add(uploadOf(open, joinPath(await make(folders), file.name), file));
}
