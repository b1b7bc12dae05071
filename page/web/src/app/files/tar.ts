// Folders as a tar archive (POSIX.1-2001, pax), made while it is read.
import type { FileEntry, SFTP } from "../../lib/index.ts";

const BLOCK = 512;
/** What the header of old fits; the rest is in a pax header before it. */
const LONGEST_NAME = 100, LARGEST_SIZE = 0o77777777777;

/** Deeper than folders are; a host can make some up without end. */
export const DEEPEST = 100;

type Bytes = Uint8Array<ArrayBuffer>;

/** The archive's bytes. Links are left out: they may lead anywhere. */
export async function* archive(sftp: Pick<SFTP, "list" | "download">, folder: FileEntry, signal: AbortSignal): AsyncGenerator<Bytes> {
  yield* entries(sftp, folder, folder.name, signal, 0);
  yield new Uint8Array(2 * BLOCK);
}

async function* entries(sftp: Pick<SFTP, "list" | "download">, folder: FileEntry, name: string, signal: AbortSignal, depth: number): AsyncGenerator<Bytes> {
  signal.throwIfAborted();
  if (depth > DEEPEST) throw new Error(`${name.slice(0, name.indexOf("/"))} is nested too deeply to be downloaded.`);
  yield* head(`${name}/`, 0, folder);
  for (const entry of await sftp.list(folder.path)) {
    const path = `${name}/${entry.name}`;
    if (entry.type === "directory") yield* entries(sftp, entry, path, signal, depth + 1);
    if (entry.type !== "file") continue;
    yield* head(path, entry.size, entry);
    yield* content(sftp, entry, signal);
  }
}

// As long as the header said: a file that grows is cut, and one that was cut meanwhile is an error.
async function* content(sftp: Pick<SFTP, "download">, { name, path, size }: FileEntry, signal: AbortSignal): AsyncGenerator<Bytes> {
  let left = size;
  if (left > 0) {
    const reader = sftp.download(path, { signal }).getReader();
    try {
      while (left > 0) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`${name} became shorter while it was read.`);
        const bytes = value.length > left ? value.slice(0, left) : value;
        left -= bytes.length;
        yield bytes;
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }
  yield new Uint8Array(padding(size));
}

function* head(name: string, size: number, { mode, modified }: FileEntry): Generator<Bytes> {
  const records: Record<string, string> = {};
  if (new TextEncoder().encode(name).length > LONGEST_NAME || /[^\x20-\x7e]/.test(name)) records.path = name;
  if (size > LARGEST_SIZE) records.size = String(size);
  if (Object.keys(records).length) {
    const text = Object.entries(records).map(([key, value]) => record(key, value)).join("");
    const bytes = new TextEncoder().encode(text);
    yield block("pax", bytes.length, 0o644, 0, "x");
    yield bytes;
    yield new Uint8Array(padding(bytes.length));
  }
  yield block(name, Math.min(size, LARGEST_SIZE), mode & 0o777, Math.max(0, Math.floor(modified / 1000)), name.endsWith("/") ? "5" : "0");
}

// "LENGTH key=value\n", where the length counts itself.
function record(key: string, value: string): string {
  const rest = new TextEncoder().encode(` ${key}=${value}\n`).length;
  let length = rest;
  while (rest + String(length).length !== length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function block(name: string, size: number, mode: number, time: number, type: string): Bytes {
  const bytes = new Uint8Array(BLOCK);
  const encoder = new TextEncoder();
  const put = (text: string, at: number): void => bytes.set(encoder.encode(text), at);
  const octal = (value: number, length: number): string => value.toString(8).padStart(length - 1, "0");
  bytes.set(encoder.encode(name).slice(0, LONGEST_NAME), 0);
  put(octal(mode, 8), 100);
  put(octal(0, 8), 108);
  put(octal(0, 8), 116);
  put(octal(size, 12), 124);
  put(octal(time, 12), 136);
  put("        ", 148); // the checksum counts itself as blanks
  put(type, 156);
  put("ustar\0" + "00", 257);
  put(`${octal(bytes.reduce((sum, byte) => sum + byte, 0), 7)}\0 `, 148);
  return bytes;
}

function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}
