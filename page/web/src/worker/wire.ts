/**
 * Calls over a MessagePort, in both directions: what page and worker say to each
 * other. A call has an answer, a told one has none. Both sides have an object of
 * methods; whatever else comes is dropped, and an unknown method is refused.
 */
import { SSHError, type ErrorCode } from "../lib/types.ts";

/** Of MessagePort, Worker and a worker's global scope what is needed here. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: string, listener: (event: MessageEvent) => void): void;
  removeEventListener(type: string, listener: (event: MessageEvent) => void): void;
  start?(): void;
  close?(): void;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Method = (...args: any[]) => unknown;
/** Functions of an interface, without an index signature of their own. */
type MethodsOf<T> = { [K in keyof T]: T[K] extends Method ? T[K] : never };
type Result<F> = F extends (...args: never[]) => infer R ? Awaited<R> : never;
type Arguments<F> = F extends (...args: infer A) => unknown ? A : never;

interface ToldError {
  message: string;
  code: ErrorCode;
}

type Message =
  | { kind: "call"; id: number; name: string; args: unknown[] }
  | { kind: "tell"; name: string; args: unknown[] }
  | { kind: "value"; id: number; value: unknown }
  | { kind: "error"; id: number; error: ToldError }
  | { kind: "end"; error: ToldError };

/** @typeParam Theirs methods that the other side has */
export class Wire<Theirs> {
  /** Resolves to why, when the other side has ended it or is gone, or this side has. */
  readonly ended: Promise<SSHError>;
  isEnded = false;

  #port: Port;
  #methods: Record<string, Method>;
  #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #serial = 0;
  #resolveEnded!: (error: SSHError) => void;
  #listener = (event: MessageEvent) => this.#received(event.data);
  // Browsers that can tell that the other side is gone, do so by this event.
  #closed = () => this.#finish(new SSHError("The page or its worker has gone.", "worker"));

  /** @param methods that the other side may call; its own functions alone count */
  constructor(port: Port, methods: object) {
    this.#port = port;
    this.#methods = methods as Record<string, Method>;
    this.ended = new Promise((resolve) => { this.#resolveEnded = resolve; });
    port.addEventListener("message", this.#listener);
    port.addEventListener("close", this.#closed);
    port.start?.();
  }

  /** Calls a method of the other side, and resolves to what it returns. Rejects with its SSHError. */
  call<K extends keyof MethodsOf<Theirs> & string>(name: K, ...args: Arguments<Theirs[K]>): Promise<Result<Theirs[K]>> {
    return this.callWith([], name, ...args);
  }

  /** The same, with what is not copied but handed over. */
  callWith<K extends keyof MethodsOf<Theirs> & string>(
    transfer: Transferable[], name: K, ...args: Arguments<Theirs[K]>
  ): Promise<Result<Theirs[K]>> {
    if (this.isEnded) return this.ended.then((error) => { throw error; });
    const id = ++this.#serial;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      try {
        this.#send({ kind: "call", id, name, args }, transfer);
      } catch (error) { // something in it can't be sent
        this.#pending.delete(id);
        reject(error as Error);
      }
    });
  }

  /** Calls a method of the other side without an answer. */
  tell<K extends keyof MethodsOf<Theirs> & string>(name: K, ...args: Arguments<Theirs[K]>): void {
    this.tellWith([], name, ...args);
  }

  tellWith<K extends keyof MethodsOf<Theirs> & string>(transfer: Transferable[], name: K, ...args: Arguments<Theirs[K]>): void {
    if (!this.isEnded) this.#send({ kind: "tell", name, args }, transfer);
  }

  /** Ends it on both sides. Calls under way reject with the error. */
  end(error = new SSHError("It was closed.", "cancelled")): void {
    if (this.isEnded) return;
    this.#send({ kind: "end", error: told(error) }, []);
    this.#finish(error);
  }

  #send(message: Message, transfer: Transferable[]): void {
    this.#port.postMessage(message, transfer);
  }

  #received(message: unknown): void {
    if (this.isEnded || !isMessage(message)) return;
    switch (message.kind) {
      case "call":
        return void this.#answer(message.id, message.name, message.args);
      case "tell":
        return void this.#invoke(message.name, message.args).catch((error) => console.error("wsproxy:", error));
      case "value":
        return this.#take(message.id)?.resolve(message.value as never);
      case "error":
        return this.#take(message.id)?.reject(errorOf(message.error));
      case "end":
        return this.#finish(errorOf(message.error));
    }
  }

  async #invoke(name: string, args: unknown[]): Promise<unknown> {
    if (!Object.hasOwn(this.#methods, name)) throw new SSHError(`There is no method ${name}.`, "protocol");
    return this.#methods[name]!(...args);
  }

  async #answer(id: number, name: string, args: unknown[]): Promise<void> {
    let answer: Message, transfer: Transferable[] = [];
    try {
      const value = await this.#invoke(name, args);
      // Bytes are handed over: whoever returns some has no more use for them.
      if (value instanceof Uint8Array) transfer = [value.buffer];
      answer = { kind: "value", id, value };
    } catch (error) {
      answer = { kind: "error", id, error: told(error) };
    }
    if (!this.isEnded) this.#send(answer, transfer);
  }

  #take(id: number) {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    return call;
  }

  #finish(error: SSHError): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#port.removeEventListener("message", this.#listener);
    this.#port.removeEventListener("close", this.#closed);
    this.#port.close?.();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#resolveEnded(error);
  }
}

function isMessage(message: unknown): message is Message {
  if (typeof message !== "object" || message === null) return false;
  const { kind, id, name, args, error } = message as Record<string, unknown>;
  switch (kind) {
    case "call":
      return Number.isSafeInteger(id) && typeof name === "string" && Array.isArray(args);
    case "tell":
      return typeof name === "string" && Array.isArray(args);
    case "value":
      return Number.isSafeInteger(id);
    case "error":
      return Number.isSafeInteger(id) && typeof error === "object" && error !== null;
    case "end":
      return typeof error === "object" && error !== null;
    default:
      return false;
  }
}

/** An error as it can be sent. One that nobody has foreseen is told as it is. */
export function told(error: unknown): ToldError {
  const { message, code, name } = (error ?? {}) as { message?: unknown; code?: unknown; name?: unknown };
  if (name === "AbortError") return { message: "It was cancelled.", code: "cancelled" };
  return {
    message: typeof message === "string" && message ? message : String(error),
    code: typeof code === "string" ? code as ErrorCode : "failed",
  };
}

function errorOf({ message, code }: ToldError): SSHError {
  return new SSHError(String(message), code);
}
