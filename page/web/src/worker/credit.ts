/**
 * How much may be on its way to somebody who acknowledges it: flow control in
 * bytes.
 */
export class Credit {
  /** Bytes that are on their way. */
  outstanding = 0;
  #limit: number;
  #waiting: { length: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #error: Error | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Waits until so many bytes may be sent, in the order of the calls, and counts
   * them. More than the limit at once may be sent when nothing is on its way.
   */
  take(length: number): Promise<void> {
    if (this.#error) return Promise.reject(this.#error);
    if (this.#waiting.length === 0 && this.#fits(length)) {
      this.outstanding += length;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ length, resolve, reject });
    });
  }

  /** So many bytes were acknowledged. Throws for what was never sent. */
  give(length: number): void {
    if (!(Number.isSafeInteger(length) && length >= 0 && length <= this.outstanding)) {
      throw new RangeError(`${length} bytes are acknowledged of ${this.outstanding}`);
    }
    this.outstanding -= length;
    this.#serve();
  }

  /** Nobody acknowledges what is on its way any more: somebody else begins anew. */
  reset(): void {
    this.outstanding = 0;
    this.#serve();
  }

  /** Whoever waits, or comes later, gets the error. */
  end(error: Error): void {
    this.#error ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#error);
  }

  #fits(length: number): boolean {
    return this.outstanding === 0 || this.outstanding + length <= this.#limit;
  }

  #serve(): void {
    for (let [first] = this.#waiting; first && this.#fits(first.length); [first] = this.#waiting) {
      this.#waiting.shift();
      this.outstanding += first.length;
      first.resolve();
    }
  }
}
