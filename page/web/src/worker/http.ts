/**
 * Reads along in one direction of an HTTP/1.1 connection, and finds its heads.
 * It looks at heads and at the sizes of chunks; bodies are skipped by arithmetic.
 */
import type { Bytes } from "./bridge.ts";

/** Longest head that is read. With a longer one, or with what is no HTTP, it stops reading. */
const mostHead = 64 << 10;
/** Of a chunk's size with its extension. */
const mostLine = 4096;

export interface Head {
  /** Of requests: method and target; of answers: version and status. */
  start: [string, string];
  fields: Map<string, string>;
}

/** Requests of one connection without an answer. Who asks more without waiting is followed no further. */
const mostAsked = 1000;
/** Of a path, and of a method, what is kept for being shown, in characters. */
const mostPath = 1000, mostMethod = 40;

/** What a head says of its body: its length, `chunked`, or `end` for all that still comes. */
export type Body = number | "chunked" | "end";

export class HTTPReader {
  #onHead: (head: Head) => Body;
  #state: "head" | "size" | "skip" | "trailer" | "over" = "head";
  #line = ""; // what has come of a line
  #lines: string[] = []; // of a head, those before it
  #length = 0; // of them
  #left = 0; // bytes to skip
  #isChunk = false; // what is skipped

  /** @param onHead is told each head, and says what body follows */
  constructor(onHead: (head: Head) => Body) {
    this.#onHead = onHead;
  }

  /** Reads on. It keeps nothing of the bytes. */
  read(bytes: Bytes): void {
    for (let at = 0; at < bytes.length && this.#state !== "over";) {
      if (this.#state === "skip") {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        if (this.#left === 0) this.#state = this.#isChunk ? "size" : "head";
        continue;
      }
      const end = bytes.indexOf(10, at);
      const next = end < 0 ? bytes.length : end + 1;
      const part = bytes.subarray(at, next);
      // Enough for what is shown; bytes beyond ASCII are told as they are.
      for (let i = 0; i < part.length; i += 8192) this.#line += String.fromCharCode(...part.subarray(i, i + 8192));
      at = next;
      if (this.#length + this.#line.length > (this.#state === "size" ? mostLine : mostHead)) this.stop();
      else if (end >= 0) this.#endOfLine();
    }
  }

  /** Reads no more. */
  stop(): void {
    this.#state = "over";
    this.#line = "";
    this.#lines = [];
  }

  // Each line is looked at once: a head of a great many must not take longer than its bytes do.
  #endOfLine(): void {
    const text = this.#line.replace(/\r?\n$/, "");
    const isEnd = text === "";
    this.#line = "";
    if (this.#state === "head") {
      if (!isEnd) {
        this.#lines.push(text);
        this.#length += text.length + 2;
      } else if (this.#lines.length > 0) this.#head(); // before a request empty lines are allowed
    } else if (this.#state === "trailer") {
      if (isEnd) this.#state = "head";
    } else if (!isEnd) { // which is behind a chunk's bytes
      const size = /^([0-9a-f]{1,12})[ \t]*(;|$)/i.exec(text);
      if (!size) this.stop();
      else this.#skip(parseInt(size[1]!, 16), true);
    }
  }

  #head(): void {
    const [first, ...lines] = this.#lines;
    this.#lines = [];
    this.#length = 0;
    const start = /^(\S+) (\S+)/.exec(first!);
    if (!start) return this.stop();
    const fields = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const body = this.#onHead({ start: [start[1]!, start[2]!], fields });
    if (this.#isOver) return; // by whom it was told
    if (body === "chunked") [this.#state, this.#isChunk] = ["size", true];
    else if (body === "end" || !Number.isSafeInteger(body) || body < 0) this.stop();
    else this.#skip(body, false);
  }

  get #isOver(): boolean {
    return this.#state === "over";
  }

  #skip(length: number, isChunk: boolean): void {
    this.#left = length;
    this.#isChunk = isChunk;
    if (length > 0) this.#state = "skip";
    else this.#state = isChunk ? "trailer" : "head";
  }
}

/** Heads of one connection's requests and of their answers. */
export class Exchange {
  readonly requests: HTTPReader;
  readonly answers: HTTPReader;
  #asked: { isHead: boolean; answered: (status: number) => void }[] = [];

  /** @param onRequest returns what is to be told of its answer */
  constructor(onRequest: (method: string, path: string) => (status: number) => void) {
    this.requests = new HTTPReader(({ start: [method, target], fields }) => {
      if (this.#asked.length >= mostAsked) {
        this.requests.stop();
        this.answers.stop();
        return "end";
      }
      const path = target.replace(/[?#].*$/s, "");
      this.#asked.push({ isHead: method === "HEAD", answered: onRequest(method.slice(0, mostMethod), path.slice(0, mostPath)) });
      return chunked(fields) ? "chunked" : Number(fields.get("content-length") ?? 0);
    });
    this.answers = new HTTPReader(({ start: [, text], fields }) => {
      const status = Number(text);
      if (status === 101) { // all that follows is no HTTP
        this.#asked.shift()?.answered(status);
        return "end";
      }
      if (status >= 100 && status < 200) return 0;
      const asked = this.#asked.shift();
      asked?.answered(status);
      if (asked?.isHead || status === 204 || status === 304) return 0;
      if (chunked(fields)) return "chunked";
      const length = fields.get("content-length");
      return length === undefined ? "end" : Number(length);
    });
  }
}

function chunked(fields: Map<string, string>): boolean {
  return /(^|,)\s*chunked\s*$/i.test(fields.get("transfer-encoding") ?? "");
}
