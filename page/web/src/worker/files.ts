import type { Bytes, GoSFTP } from "./bridge.ts";
import { Credit } from "./credit.ts";
import type { DownloadMethods, DownloadPageMethods, SFTPMethods, UploadPageMethods } from "./protocol.ts";
import { Wire } from "./wire.ts";
import { SSHError } from "../lib/types.ts";

/** Bytes of a file that may be on their way between page and worker. */
export const fileWindow = 2 << 20;
/** Bytes that are read of a Blob at once. Each reading costs a call to another process. */
const piece = 1 << 20;
/** Milliseconds between two tellings of an upload's progress. */
const progressPause = 100;

/** A page's file transfer. It ends with the page. */
export function serveFiles(go: GoSFTP, port: MessagePort): Wire<object> {
  const methods: { [K in keyof SFTPMethods]: (...args: Parameters<SFTPMethods[K]>) => unknown } = {
    realPath: (path) => go.realPath(text(path)),
    list: (path) => go.list(text(path)),
    stat: (path) => go.stat(text(path)),
    mkdir: (path) => go.mkdir(text(path)),
    rename: (from, to) => go.rename(text(from), text(to)),
    remove: (path, recursive) => go.remove(text(path), { recursive: recursive === true }),
    read: (path, from, port) => read(go, text(path), offset(from), port),
    write: (path, source, { size, resume }, port) => write(go, text(path), source, { size: offset(size), resume: resume === true }, port),
  };
  const wire = new Wire<object>(port, methods);
  void wire.ended.then(() => go.close());
  void go.closed?.then(() => wire.end(new SSHError("The file transfer has ended with its connection.", "network")));
  return wire;
}

async function read(go: GoSFTP, path: string, from: number, port: MessagePort) {
  const credit = new Credit(fileWindow);
  const stop = new AbortController();
  const methods: { [K in keyof DownloadMethods]: (...args: Parameters<DownloadMethods[K]>) => unknown } = {
    ack: (length) => credit.give(length),
  };
  const wire = new Wire<DownloadPageMethods>(port, methods);
  void wire.ended.then((error) => {
    credit.end(error);
    stop.abort(error);
  });
  try {
    wire.tell("size", (await go.stat(path)).size);
    let end = from;
    const result = await go.read(path, { from }, async (bytes) => {
      await credit.take(bytes.length);
      end += bytes.length;
      wire.tellWith([bytes.buffer], "data", bytes);
    }, stop.signal);
    if (end < result.size) throw new SSHError(`${path} became shorter while it was read.`, "failed");
    // What was sent is what the page waits for: sizes of files that grow, and of those that have none, say less.
    return { ...result, size: end };
  } finally {
    // The port is not ended here: the page still acknowledges what is on its way, and ends it.
  }
}

async function write(go: GoSFTP, path: string, blob: Blob | null, options: { size: number; resume: boolean }, port: MessagePort) {
  const stop = new AbortController();
  const wire = new Wire<UploadPageMethods>(port, {});
  void wire.ended.then((error) => stop.abort(error));
  const source = blob ? new BlobSource(blob) : new StreamSource((position) => wire.call("next", position));
  let told = 0;
  const progress = (position: number, isLast = false) => {
    const now = Date.now();
    if (!isLast && now - told < progressPause) return;
    told = now;
    wire.tell("progress", position);
  };
  let end = 0;
  await go.write(path, options, async (position) => {
    stop.signal.throwIfAborted();
    progress(position);
    const bytes = await source.next(position);
    end = position + (bytes?.length ?? 0);
    return bytes;
  }, stop.signal);
  progress(end, true);
}

/** Reads some pieces ahead, so that the disk's time is not added to the network's. */
class BlobSource {
  #blob: Blob;
  #ahead: Promise<Bytes>[] = [];
  #position = -1; // of what is read next

  constructor(blob: Blob) {
    this.#blob = blob;
  }

  async next(position: number): Promise<Bytes | null> {
    if (this.#position < 0) this.#position = position;
    while (this.#position < this.#blob.size && this.#ahead.length < fileWindow / piece) {
      const bytes = this.#blob.slice(this.#position, this.#position + piece).arrayBuffer().then((buffer) => new Uint8Array(buffer));
      bytes.catch(() => {}); // who waits for it is told
      this.#ahead.push(bytes);
      this.#position += piece;
    }
    try {
      return await this.#ahead.shift() ?? null;
    } catch (cause) {
      throw new SSHError("The file can't be read: it has changed or gone since it was chosen.", "failed", { cause });
    }
  }
}

/** The same of a stream in the page. Only it knows how long a piece is, so one is asked for after the other. */
class StreamSource {
  #ask: (position: number) => Promise<Bytes | null>;
  #ahead: Promise<Bytes | null> | undefined;

  constructor(ask: (position: number) => Promise<Bytes | null>) {
    this.#ask = ask;
  }

  async next(position: number): Promise<Bytes | null> {
    const bytes = await (this.#ahead ?? this.#ask(position));
    this.#ahead = bytes ? this.#ask(position + bytes.length) : undefined;
    this.#ahead?.catch(() => {}); // the next one tells
    return bytes;
  }
}

function text(value: unknown): string {
  if (typeof value !== "string" || value === "") throw new SSHError("A path is missing.", "protocol");
  return value;
}

function offset(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new SSHError(`${String(value)} is no number of bytes.`, "protocol");
  return value as number;
}
