// Transfers under way: a few at once, the others wait. Each can be cancelled, and
// what was cut goes on where it was. A failure stays until a person has seen it.

/** What moves the bytes. Each call goes on where the one before has ended. */
export interface Mover {
  run(onProgress: (done: number, total: number) => void, signal: AbortSignal): Promise<void>;
  /** Throws away what is there of it. */
  discard?(): Promise<void>;
}

export type TransferState = "waiting" | "running" | "done" | "failed" | "cancelled";

export class Transfer {
  state: TransferState = "waiting";
  done = 0;
  total = NaN;
  /** Bytes a second, smoothed; 0 while nothing has moved. */
  rate = 0;
  error = "";
  private sampled = { at: 0, done: 0 };

  constructor(readonly kind: "upload" | "download", readonly name: string, readonly mover: Mover, private now: () => number = () => performance.now()) {}

  /** Seconds to go, as far as one knows. */
  get left(): number {
    return this.rate > 0 ? (this.total - this.done) / this.rate : NaN;
  }

  get isOver(): boolean {
    return this.state !== "waiting" && this.state !== "running";
  }

  progress(done: number, total: number): void {
    const now = this.now();
    if (!this.sampled.at || done < this.sampled.done) this.sampled = { at: now, done };
    const time = now - this.sampled.at;
    if (time >= SAMPLE) {
      const rate = (done - this.sampled.done) / time * 1000;
      this.rate = this.rate ? this.rate * 0.7 + rate * 0.3 : rate;
      this.sampled = { at: now, done };
    }
    this.done = done;
    this.total = total;
  }

  restarted(): void {
    this.rate = 0;
    this.sampled = { at: 0, done: this.done };
  }
}

/** Milliseconds between two looks at the rate. */
const SAMPLE = 400;
/** More at once would only divide the same line. */
const AT_ONCE = 3;

export class Transfers {
  readonly all: Transfer[] = [];
  private running = new Map<Transfer, AbortController>();

  constructor(private changed: (transfer: Transfer | undefined) => void) {}

  get isBusy(): boolean {
    return this.all.some((transfer) => !transfer.isOver);
  }

  add(transfer: Transfer): void {
    this.all.push(transfer);
    this.changed(undefined);
    this.next();
  }

  cancel(transfer: Transfer): void {
    if (transfer.isOver) return;
    transfer.state = "cancelled";
    this.running.get(transfer)?.abort(new DOMException("cancelled", "AbortError"));
    this.changed(transfer);
  }

  resume(transfer: Transfer): void {
    if (transfer.state !== "failed" && transfer.state !== "cancelled") return;
    transfer.state = "waiting";
    transfer.error = "";
    transfer.restarted();
    this.changed(transfer);
    this.next(); // or when what was cancelled has come to its end
  }

  dismiss(transfer: Transfer): void {
    this.cancel(transfer);
    this.all.splice(this.all.indexOf(transfer), 1);
    if (transfer.state !== "done") void transfer.mover.discard?.().catch(() => undefined).then(() => this.changed(transfer));
    this.changed(undefined);
  }

  /** Takes those away that need nobody's look any more. */
  clear(): void {
    for (const transfer of this.all.filter(({ state }) => state === "done")) this.all.splice(this.all.indexOf(transfer), 1);
    this.changed(undefined);
  }

  stop(): void {
    for (const controller of this.running.values()) controller.abort(new DOMException("stopped", "AbortError"));
  }

  private next(): void {
    for (const transfer of this.all) {
      if (this.running.size >= AT_ONCE) return;
      if (transfer.state === "waiting" && !this.running.has(transfer)) void this.run(transfer);
    }
  }

  private async run(transfer: Transfer): Promise<void> {
    const controller = new AbortController();
    this.running.set(transfer, controller);
    transfer.state = "running";
    this.changed(transfer);
    try {
      await transfer.mover.run((done, total) => {
        transfer.progress(done, total);
        this.changed(transfer);
      }, controller.signal);
      if (transfer.state === "running") transfer.state = "done";
    } catch (error) {
      if (transfer.state === "running") {
        transfer.state = "failed";
        transfer.error = (error as Error).message || "It failed.";
      }
    }
    this.running.delete(transfer);
    this.changed(transfer);
    this.next();
  }
}
