import type { Bytes, GoClient, GoShell, GoShellEnded } from "./bridge.ts";
import { Credit } from "./credit.ts";
import type { ShellInfo, ShellMethods, ShellPageMethods } from "./protocol.ts";
import { Tail } from "./tail.ts";
import { Wire } from "./wire.ts";
import { SSHError, type ShellOptions } from "../lib/types.ts";

/** Bytes of output that may be on their way to the page. What xterm parses in some 10 ms. */
export const shellWindow = 256 << 10;
/** Bytes of output that a page gets which takes the shell over. Above the window: the page before may not have seen that. */
const kept = 512 << 10;

/** One shell, which outlives the pages that show it. */
export class WorkerShell {
  readonly info: ShellInfo;
  #go!: GoShell;
  #wire: Wire<ShellPageMethods> | undefined;
  #credit = new Credit(shellWindow);
  #tail = new Tail(kept);
  #ended: GoShellEnded | undefined;
  #forget: () => void;

  /** @param forget called when it has ended and the page was told */
  static async open(client: GoClient, id: string, options: ShellOptions, port: MessagePort, forget: () => void): Promise<WorkerShell> {
    const shell = new WorkerShell(id, options, forget);
    shell.#go = await client.openShell({ ...options, term: options.term ?? "xterm-256color" }, (bytes, isStderr) => shell.#output(bytes, isStderr));
    void shell.#go.closed.then((ended) => shell.#finish(ended));
    shell.attach(port);
    return shell;
  }

  private constructor(id: string, options: ShellOptions, forget: () => void) {
    this.info = { id, options };
    this.#forget = forget;
  }

  /** Shows it to another page, which has seen nothing of it, or to the first. */
  attach(port: MessagePort): void {
    this.detach();
    const methods: { [K in keyof ShellMethods]: (...args: Parameters<ShellMethods[K]>) => unknown } = {
      write: (bytes) => this.#go.write(bytesOf(bytes)),
      closeInput: () => this.#go.closeInput(),
      resize: (cols, rows) => {
        const size = { cols: sizeOf(cols), rows: sizeOf(rows) };
        Object.assign(this.info.options, size);
        this.#go.resize(size.cols, size.rows);
      },
      signal: (name) => this.#go.signal(String(name)),
      close: () => this.#go.close(),
      ack: (length) => this.#acknowledged(wire, length),
    };
    const wire: Wire<ShellPageMethods> = new Wire(port, methods);
    this.#wire = wire;
    void wire.ended.then(() => { if (this.#wire === wire) this.detach(); });
    const bytes = this.#tail.bytes();
    if (bytes.length > 0) {
      // It goes past the window: nothing else is on its way.
      void this.#credit.take(bytes.length);
      wire.tellWith([bytes.buffer], "data", bytes, false, true);
    }
    for (const { bytes, isStderr, done } of this.#undelivered.splice(0)) {
      done(this.#deliver(bytes, isStderr));
    }
    if (this.#ended) this.#finish(this.#ended);
  }

  /** What no page sees waits, here and then at the host. */
  detach(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    this.#credit.reset();
    wire?.end();
  }

  close(): void {
    this.#go.close();
  }

  #undelivered: { bytes: Bytes; isStderr: boolean; done: (promise: Promise<void>) => void }[] = [];

  async #output(bytes: Bytes, isStderr: boolean): Promise<void> {
    if (this.#wire) return this.#deliver(bytes, isStderr);
    await new Promise<void>((resolve) => this.#undelivered.push({ bytes, isStderr, done: resolve }));
  }

  async #deliver(bytes: Bytes, isStderr: boolean): Promise<void> {
    await this.#credit.take(bytes.length);
    if (!this.#wire) { // the page went while it waited
      return void await new Promise<void>((resolve) => this.#undelivered.push({ bytes, isStderr, done: resolve }));
    }
    this.#tail.add(bytes);
    this.#wire.tellWith([bytes.buffer], "data", bytes, isStderr, false);
  }

  #acknowledged(wire: Wire<ShellPageMethods>, length: number): void {
    if (wire !== this.#wire) return;
    try {
      this.#credit.give(length);
    } catch {
      // A page that counts wrongly would sooner or later wait for ever.
      wire.end(new SSHError("More output was acknowledged than was sent.", "protocol"));
    }
  }

  #finish(ended: GoShellEnded): void {
    this.#ended = ended;
    if (!this.#wire) return;
    this.#wire.tell("ended", ended);
    this.#forget();
  }
}

function sizeOf(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 65_535) {
    throw new SSHError(`${String(value)} is no size of a terminal.`, "protocol");
  }
  return value as number;
}

function bytesOf(value: unknown): Bytes {
  if (!(value instanceof Uint8Array)) throw new SSHError("A shell takes bytes.", "protocol");
  return value as Bytes;
}
