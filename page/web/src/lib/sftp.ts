import { SSHError, type Bytes, type DownloadOptions, type FileEntry, type UploadOptions } from "./types.ts";
import type { DownloadMethods, DownloadPageMethods, SFTPMethods, UploadPageMethods } from "../worker/protocol.ts";
import { Wire } from "../worker/wire.ts";

/** Bytes of a stream that are handed to the worker at once, at most. */
const piece = 256 << 10;

/** Files of a host. Errors are SSHErrors, with `not_found`, `permission` and `exists` among their codes. */
export class SFTP {
  /** Resolves when it has ended, with the session or by close(). */
  readonly closed: Promise<SSHError>;
  #wire: Wire<SFTPMethods>;

  /** @internal A page gets one by SSHSession.sftp(). */
  static async open(open: (port: MessagePort) => Promise<void>): Promise<SFTP> {
    const { port1, port2 } = new MessageChannel();
    const sftp = new SFTP(new Wire<SFTPMethods>(port1, {}));
    try {
      await open(port2);
    } catch (error) {
      sftp.close();
      throw error;
    }
    return sftp;
  }

  private constructor(wire: Wire<SFTPMethods>) {
    this.#wire = wire;
    this.closed = wire.ended;
  }

  /** The path without links, dots and so on. Of "." it is the user's own folder. */
  realPath(path: string): Promise<string> {
    return this.#wire.call("realPath", path);
  }

  list(path: string): Promise<FileEntry[]> {
    return this.#wire.call("list", path);
  }

  /** Of a link what it leads to. */
  stat(path: string): Promise<FileEntry> {
    return this.#wire.call("stat", path);
  }

  mkdir(path: string): Promise<void> {
    return this.#wire.call("mkdir", path);
  }

  /** Rejects with `exists` rather than to replace something. */
  rename(from: string, to: string): Promise<void> {
    return this.#wire.call("rename", from, to);
  }

  remove(path: string, { recursive = false } = {}): Promise<void> {
    return this.#wire.call("remove", path, recursive);
  }

  /**
   * A file's bytes as they come. Who does not read them holds the host up;
   * cancelling the stream ends the transfer, and a failure errors it.
   */
  download(path: string, { from = 0, onProgress, signal }: DownloadOptions = {}): ReadableStream<Bytes> {
    const { port1, port2 } = new MessageChannel();
    const waiting: Bytes[] = [];
    let done = from, total = NaN, isWhole = false;
    let failure: unknown;
    let wanted: (() => void) | undefined; // resolves the pull that waits
    const wake = () => {
      wanted?.();
      wanted = undefined;
    };
    const methods: { [K in keyof DownloadPageMethods]: (...args: Parameters<DownloadPageMethods[K]>) => unknown } = {
      size: (size) => {
        total = size;
        onProgress?.({ done, total });
      },
      data: (bytes) => {
        waiting.push(bytes);
        wake();
      },
    };
    const wire = new Wire<DownloadMethods>(port1, methods);
    const fail = (error: unknown) => {
      failure ??= error;
      waiting.length = 0;
      wire.end();
      wake();
    };
    const abort = () => fail(signal!.reason);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    const finish = () => {
      signal?.removeEventListener("abort", abort);
      wire.end();
    };
    // The answer comes over another port than the bytes, and may be here before them.
    let expected = Infinity;
    const end = () => {
      isWhole = done + waiting.reduce((sum, { length }) => sum + length, 0) >= expected;
      if (isWhole) wake();
    };
    if (!signal?.aborted) {
      this.#wire.callWith([port2], "read", path, from, port2).then(({ size }) => {
        expected = Math.max(size, from);
        end();
      }, fail);
    }
    return new ReadableStream<Bytes>({
      async pull(controller) {
        for (;;) {
          if (failure !== undefined) {
            finish();
            throw failure;
          }
          const bytes = waiting.shift();
          if (bytes) {
            done += bytes.length;
            wire.tell("ack", bytes.length);
            if (expected < Infinity) end();
            onProgress?.({ done, total });
            controller.enqueue(bytes);
            return;
          }
          if (isWhole || done >= expected) {
            finish();
            controller.close();
            return;
          }
          await new Promise<void>((resolve) => { wanted = resolve; });
        }
      },
      cancel: () => finish(),
    }, { highWaterMark: 0 });
  }

  /**
   * Writes a file: to `path.part`, which takes the path's place at the end. What
   * was cut stays there, and `resume` goes on with it.
   */
  async upload(path: string, source: Blob | ReadableStream<Uint8Array>, options: UploadOptions = {}): Promise<void> {
    const { resume = false, onProgress, signal } = options;
    signal?.throwIfAborted();
    const isBlob = source instanceof Blob;
    const total = isBlob ? source.size : options.size ?? NaN;
    const { port1, port2 } = new MessageChannel();
    const feed = isBlob ? undefined : new Feed(source);
    const methods: { [K in keyof UploadPageMethods]: (...args: Parameters<UploadPageMethods[K]>) => unknown } = {
      next: (position) => feed?.next(position),
      progress: (done) => onProgress?.({ done, total }),
    };
    const wire = new Wire<object>(port1, methods);
    const abort = () => wire.end();
    signal?.addEventListener("abort", abort);
    try {
      await this.#wire.callWith([port2], "write", path, isBlob ? source : null, { size: Number.isNaN(total) ? 0 : total, resume }, port2);
      onProgress?.({ done: Number.isNaN(total) ? feed?.position ?? 0 : total, total });
    } catch (error) {
      await feed?.cancel(error);
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      wire.end();
    }
  }

  /** Ends it, with the transfers under way. */
  close(): void {
    this.#wire.end();
  }
}

/** Gives a stream's bytes piece by piece, in order. */
class Feed {
  position = 0;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** The bytes at a position; what comes before it is dropped. */
  async next(position: number): Promise<Bytes | null> {
    if (position < this.position) throw new SSHError("A stream can't be read twice.", "failed");
    for (;;) {
      const dropped = Math.min(position - this.position, this.#rest.length);
      this.#rest = this.#rest.subarray(dropped);
      this.position += dropped;
      if (this.#rest.length > 0) break;
      const { done, value } = await this.#reader.read();
      if (done) {
        if (this.position < position) throw new SSHError("What is there of the file is longer than what is to be uploaded.", "failed");
        return null;
      }
      this.#rest = value;
    }
    const bytes = this.#rest.slice(0, piece);
    this.#rest = this.#rest.subarray(bytes.length);
    this.position += bytes.length;
    return bytes as Bytes;
  }

  async cancel(reason: unknown): Promise<void> {
    await this.#reader.cancel(reason).catch(() => {});
  }
}
