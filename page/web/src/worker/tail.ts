import type { Bytes } from "./bridge.ts";

/** The latest output of a shell: at least so many bytes, if there were as many, and at most twice as many. */
export class Tail {
  #least: number;
  #pieces: Bytes[] = [];
  #length = 0;

  constructor(least: number) {
    this.#least = least;
  }

  /** Copies them: they are handed over to the page afterwards. */
  add(bytes: Bytes): void {
    this.#pieces.push(bytes.slice());
    this.#length += bytes.length;
    if (this.#pieces.length > 1 && this.#length > 2 * this.#least || this.#pieces.length > 4096) this.#join();
  }

  /** All of it, beginning with a line if something was cut off: a terminal can't begin within a sequence. */
  bytes(): Bytes {
    this.#join();
    return this.#pieces[0]?.slice() ?? new Uint8Array();
  }

  #join(): void {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    let rest = all;
    if (all.length > this.#least) {
      rest = all.subarray(all.length - this.#least);
      const line = rest.indexOf(10) + 1; // without a line break the cut is where it is
      rest = rest.slice(line);
    }
    this.#pieces = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
  }
}
