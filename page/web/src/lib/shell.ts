import type { Bytes, DataHandler, ShellEnded, ShellOptions } from "./types.ts";
import type { ShellInfo, ShellMethods, ShellPageMethods } from "../worker/protocol.ts";
import { Wire } from "../worker/wire.ts";

const encoder = new TextEncoder();

/** A shell or a command of a session. */
export class Shell {
  /** Resolves when it has ended and all its output was handled. Never rejects. */
  readonly closed: Promise<ShellEnded>;

  #info!: ShellInfo;
  #wire: Wire<ShellMethods>;
  #handler: DataHandler | undefined;
  #early: { bytes: Bytes; isStderr: boolean; isReplay: boolean }[] = [];
  #handled: Promise<unknown> = Promise.resolve(); // all output so far
  #resolveClosed!: (ended: ShellEnded) => void;

  /** @internal A page gets one by SSHSession.shell() and adopt(). */
  static async open(open: (port: MessagePort) => Promise<ShellInfo>): Promise<Shell> {
    const { port1, port2 } = new MessageChannel();
    const shell = new Shell(port1);
    try {
      shell.#info = await open(port2);
    } catch (error) {
      shell.#wire.end();
      throw error;
    }
    return shell;
  }

  private constructor(port: MessagePort) {
    this.closed = new Promise((resolve) => { this.#resolveClosed = resolve; });
    const methods: { [K in keyof ShellPageMethods]: (...args: Parameters<ShellPageMethods[K]>) => unknown } = {
      data: (bytes, isStderr, isReplay) => {
        if (this.#handler) this.#handle(bytes, isStderr, isReplay);
        else this.#early.push({ bytes, isStderr, isReplay });
      },
      ended: (ended) => this.#finish(ended),
    };
    this.#wire = new Wire<ShellMethods>(port, methods);
    void this.#wire.ended.then(({ message }) => this.#finish({ message }));
  }

  /** The name by which a page that has taken the session over finds it again. */
  get id(): string {
    return this.#info.id;
  }

  /** With the size of now. */
  get options(): ShellOptions {
    return this.#info.options;
  }

  /** What comes before a handler is set waits. */
  set onData(handler: DataHandler) {
    this.#handler = handler;
    for (const { bytes, isStderr, isReplay } of this.#early.splice(0)) this.#handle(bytes, isStderr, isReplay);
  }

  /** Is done when the bytes are on their way to the host. Rejects when the shell has ended. */
  async write(data: string | Bytes): Promise<void> {
    await this.#wire.call("write", typeof data === "string" ? encoder.encode(data) : data);
  }

  /** The end of a command's input. */
  async closeInput(): Promise<void> {
    await this.#wire.call("closeInput");
  }

  resize(cols: number, rows: number): void {
    Object.assign(this.#info.options, { cols, rows });
    this.#wire.tell("resize", cols, rows);
  }

  /** @param name without SIG, such as `INT`. Not every host does something about it. */
  signal(name: string): void {
    this.#wire.tell("signal", name);
  }

  /** Ends it, as a terminal that is closed. */
  close(): void {
    this.#wire.tell("close");
  }

  #handle(bytes: Bytes, isStderr: boolean, isReplay: boolean): void {
    const { length } = bytes;
    const done = (async () => this.#handler!(bytes, isStderr, isReplay))().catch(reportError).then(() => this.#wire.tell("ack", length));
    this.#handled = Promise.all([this.#handled, done]);
  }

  #finish(ended: ShellEnded): void {
    void this.#handled.then(() => {
      this.#resolveClosed(ended);
      this.#wire.end();
    });
  }
}
