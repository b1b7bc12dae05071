import { Emitter } from "./emitter.ts";
import { PortShare } from "./share.ts";
import { SFTP } from "./sftp.ts";
import { Shell } from "./shell.ts";
import {
  SSHError, type Ended, type Prompter, type SessionEvents, type SessionInfo, type SessionState, type ShareOptions, type ShellOptions,
  type SSHOptions, type Token,
} from "./types.ts";
import { signWebAuthn } from "./webauthn.ts";
import { open, theWorker } from "./worker.ts";
import type { SessionMethods, SessionPageMethods } from "../worker/protocol.ts";
import { Wire } from "../worker/wire.ts";

/** A login on a host by SSH. It goes on when the network was lost and is back. */
export class SSHSession extends Emitter<SessionEvents> {
  /** Resolves when it is over. Never rejects. */
  readonly ended: Promise<Ended>;
  /** Those of a session that was taken over; to be shown again. */
  shells: Shell[] = [];
  /** The ports that are shared now. */
  readonly shares = new Set<PortShare>();

  #wire!: Wire<SessionMethods>;
  #info!: SessionInfo;
  #state: SessionState = "connecting";
  #detachedSince = 0;
  #resolveEnded!: (ended: Ended) => void;

  /**
   * Connects and logs in. Rejects with an SSHError, and with code `cancelled`
   * if the person or the signal has given up.
   */
  static async connect(options: SSHOptions): Promise<SSHSession> {
    const { prompts, token, signal, url = "/", jump, host, port, user, password, keys, securityKeys, agentForward } = options;
    const cancelled = () => new SSHError("Connecting was cancelled.", "cancelled", { cause: signal?.reason });
    if (signal?.aborted) throw cancelled();
    const worker = await theWorker();
    const session = new SSHSession();
    const pagePort = session.#open(prompts, token);
    const abort = () => {
      session.#wire.tell("close");
      session.#finish({ reason: "cancelled", message: "It was cancelled." });
    };
    signal?.addEventListener("abort", abort);
    void session.ended.then(() => signal?.removeEventListener("abort", abort));
    try {
      session.#info = await Promise.race([
        worker.callWith([pagePort], "connect", {
          host, port: port ?? 22, user, keys: keys ?? [], securityKeys: securityKeys ?? [], agentForward: agentForward ?? false,
          ...(password !== undefined && { password }), ...(jump && { jump }),
          url: new URL(url, globalThis.location.href).href,
          knownHosts: options.knownHosts ?? "",
          keepAliveSeconds: options.keepAliveSeconds ?? 30,
          label: options.label ?? "",
        }, pagePort),
        new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(cancelled()))),
      ]);
    } catch (error) {
      session.#wire.end();
      throw error;
    }
    // The answer comes over another port than what the session tells of its state.
    if (session.#state === "connecting") session.#is(session.#info.state, 0);
    session.#watch(worker);
    return session;
  }

  /** Sessions that live in the worker, such as those of a page that was reloaded. */
  static async list(): Promise<SessionInfo[]> {
    return (await theWorker()).call("list");
  }

  /** Takes a session over that no page has any more. `shells` and `shares` are what it has. */
  static async adopt(id: string, options: { prompts: Prompter; token?: Token }): Promise<SSHSession> {
    const worker = await theWorker();
    const session = new SSHSession();
    const port = session.#open(options.prompts, options.token);
    try {
      const { info, shells, shares, away } = await worker.callWith([port], "adopt", id, port);
      session.#info = info;
      session.#detachedSince = Date.now() - away;
      session.#is(info.state, 0, away);
      session.#watch(worker);
      for (const view of shares) session.#add(new PortShare(view, (id) => session.#unshare(id)));
      session.shells = await Promise.all(shells.map((shell) => Shell.open(async (port) => {
        await session.#wire.callWith([port], "attachShell", shell.id, port);
        return shell;
      })));
      return session;
    } catch (error) {
      session.#wire.end();
      throw error;
    }
  }

  private constructor() {
    super();
    this.ended = new Promise((resolve) => { this.#resolveEnded = resolve; });
    open.add(this);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Milliseconds for which the network has been gone by now; 0 if it is there. */
  get away(): number {
    return this.#state === "detached" ? Date.now() - this.#detachedSince : 0;
  }

  /** As it was when it was connected or taken over. */
  get info(): SessionInfo {
    return { ...this.#info, state: this.#state };
  }

  get id(): string {
    return this.#info.id;
  }

  async shell(options: ShellOptions): Promise<Shell> {
    return Shell.open((port) => this.#wire.callWith([port], "openShell", options, port));
  }

  /** A file transfer, which ends with this page. There may be several. */
  async sftp(): Promise<SFTP> {
    return SFTP.open((port) => this.#wire.callWith([port], "openSFTP", port));
  }

  /** Gives a port that the host can reach a public address. */
  async sharePort(options: ShareOptions): Promise<PortShare> {
    const view = await this.#wire.call("share", options);
    const share = new PortShare(view, (id) => this.#unshare(id));
    this.#add(share);
    return share;
  }

  /** Milliseconds to the host and back. */
  async ping(): Promise<number> {
    return this.#wire.call("ping");
  }

  /** Ends it, and everything that it has. */
  close(): void {
    this.#wire.tell("close");
  }

  #open(prompts: Prompter, token: Token): MessagePort {
    const { port1, port2 } = new MessageChannel();
    const methods: { [K in keyof SessionPageMethods]: (...args: Parameters<SessionPageMethods[K]>) => unknown } = {
      token: async () => (typeof token === "function" ? await token() : token) ?? null,
      ask: (question) => prompts.ask(question),
      hostKey: (question) => prompts.hostKey(question),
      signWebAuthn: (question) => prompts.signWebAuthn ? prompts.signWebAuthn(question) : signWebAuthn(question),
      remember: (line) => prompts.remember(line),
      banner: (text) => prompts.banner?.(text),
      step: (step, host) => prompts.step?.(step, host),
      state: (state, away) => this.#is(state, away),
      ended: (ended) => this.#finish(ended),
      shared: (view) => { for (const share of this.shares) share.update(view); },
    };
    this.#wire = new Wire<SessionMethods>(port1, methods);
    void this.#wire.ended.then(({ code, message }) => this.#finish({ reason: code, message }));
    return port2;
  }

  #watch(worker: Wire<object>): void {
    void worker.ended.then(({ message }) => this.#finish({ reason: "worker", message }));
  }

  #add(share: PortShare): void {
    this.shares.add(share);
  }

  async #unshare(id: string): Promise<void> {
    for (const share of this.shares) if (share.id === id) this.shares.delete(share);
    if (this.#state !== "closed") await this.#wire.call("unshare", id);
  }

  #is(state: SessionState, away: number, before = 0): void {
    if (this.#state === "closed" || state === "closed") return; // its end is told with why
    const was = this.#state;
    this.#state = state;
    if (state === "detached") this.#detachedSince = Date.now() - before;
    if (state !== was) this.emit("state", state);
    if (state === "connected" && away > 0) this.emit("resumed", { away });
  }

  #finish(ended: Ended): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    open.delete(this);
    for (const share of this.shares) share.lost(ended.message);
    this.emit("state", "closed");
    this.emit("ended", ended);
    this.#resolveEnded(ended);
    this.#wire.end();
  }
}
