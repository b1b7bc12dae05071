import type { GoAPI, GoClient, GoHooks } from "./bridge.ts";
import { serveFiles } from "./files.ts";
import type { AdoptedSession, ConnectOptions, SessionMethods, SessionPageMethods } from "./protocol.ts";
import { login } from "./relay.ts";
import { WorkerShare } from "./share.ts";
import { WorkerShell } from "./shell.ts";
import { Wire } from "./wire.ts";
import { SSHError, type Ended, type SessionInfo, type SessionState } from "../lib/types.ts";

/** Milliseconds that an end in order may take. */
const farewell = 2000;

/**
 * One SSH session. It belongs to a page, and outlives it for a while if the
 * worker does: then its shells wait, and its shared ports go on.
 */
export class WorkerSession {
  readonly id: string;
  /** Resolves when it is over. Never rejects. */
  readonly ended: Promise<Ended>;

  #api: GoAPI;
  #options: ConnectOptions;
  #client: GoClient | undefined;
  #state: SessionState = "connecting";
  #startedAt = Date.now();
  #detachedAt = 0;
  #page: Wire<SessionPageMethods> | undefined;
  #token: string | null = null; // the latest, for when no page is there to be asked
  #shells = new Map<string, WorkerShell>();
  #shares = new Map<string, WorkerShare>();
  #files = new Set<Wire<object>>();
  #serial = 0;
  #stop = new AbortController();
  #resolveEnded!: (ended: Ended) => void;
  #isClosing = false; // by a person

  constructor(api: GoAPI, id: string, options: ConnectOptions) {
    this.#api = api;
    this.id = id;
    this.#options = options;
    this.ended = new Promise((resolve) => { this.#resolveEnded = resolve; });
  }

  /** Logs in. If that fails the session is over. */
  async connect(port: MessagePort): Promise<SessionInfo> {
    this.#serve(port);
    try {
      this.#page?.tell("step", "relay", this.#options.host);
      const { client, closed } = await login(this.#api, this.#options, this.#hooks, {
        token: () => this.#askToken(),
        onDetached: () => this.#is("detached", 0),
        onResumed: ({ away }) => this.#is("connected", away),
      }, this.#stop.signal);
      this.#client = client;
      void closed.then((ended) => this.#finish(ended));
    } catch (error) {
      const { code, message } = error as SSHError;
      this.#finish({ reason: code, message });
      throw error;
    }
    // The page may have gone, or the person have given up, at the last moment.
    if (this.#state === "closed" || this.#stop.signal.aborted) {
      this.#client.close();
      throw new SSHError("Connecting was cancelled.", "cancelled");
    }
    if (this.#state === "connecting") this.#is("connected", 0);
    // What the login needed is not kept.
    this.#options = withoutSecrets(this.#options);
    return this.info;
  }

  get info(): SessionInfo {
    const { host, port = 22, user, label } = this.#options;
    return { id: this.id, label, host, port, user, state: this.#state, startedAt: this.#startedAt, isTaken: this.#page !== undefined };
  }

  /** Another page takes it over. */
  adopt(port: MessagePort): AdoptedSession {
    this.#serve(port);
    return {
      info: this.info,
      shells: [...this.#shells.values()].map(({ info }) => info),
      shares: [...this.#shares.values()].map(({ view }) => view),
      away: this.#state === "detached" ? Date.now() - this.#detachedAt : 0,
    };
  }

  /** Its page has gone. One that was still logging in is over, as nobody can be asked. */
  orphan(): void {
    const page = this.#page;
    this.#page = undefined;
    page?.end(new SSHError("The page has gone.", "worker"));
    for (const shell of this.#shells.values()) shell.detach();
    for (const files of this.#files) files.end();
    this.#files.clear();
    if (this.#state === "connecting") this.abort();
  }

  /** Ends it in order: the host is told. */
  close(): void {
    if (!this.#client) return this.abort();
    this.#isClosing = true;
    for (const share of this.#shares.values()) void share.close();
    this.#client.close();
    setTimeout(() => this.abort(), farewell);
  }

  /** Ends it at once, also while it connects. */
  abort(): void {
    this.#isClosing = true;
    this.#stop.abort(new SSHError("Connecting was cancelled.", "cancelled"));
    for (const share of this.#shares.values()) void share.close();
    if (this.#client) this.#client.close();
    else this.#finish({ reason: "cancelled", message: "Connecting was cancelled." });
  }

  /** What it runs on is gone. */
  fail({ code, message }: SSHError): void {
    this.#stop.abort();
    this.#finish({ reason: code, message });
  }

  #serve(port: MessagePort): void {
    const methods: { [K in keyof SessionMethods]: (...args: Parameters<SessionMethods[K]>) => unknown } = {
      openShell: async (options, port) => {
        const id = this.#nextId();
        const shell = await WorkerShell.open(this.#connected, id, options, port, () => this.#shells.delete(id));
        this.#shells.set(id, shell);
        return shell.info;
      },
      attachShell: (id, port) => {
        const shell = this.#shells.get(id);
        if (!shell) throw new SSHError("That shell has ended.", "not_found");
        shell.attach(port);
      },
      openSFTP: async (port) => {
        const files = serveFiles(await this.#connected.openSFTP(), port);
        this.#files.add(files);
        void files.ended.then(() => this.#files.delete(files));
      },
      share: async (options) => {
        const server = { url: this.#options.url, token: () => this.#askToken() };
        const share = await WorkerShare.open(this.#connected, this.#nextId(), options, server, ({ view }) => this.#page?.tell("shared", view));
        if (this.#state === "closed") {
          void share.close();
          throw new SSHError("The session has ended.", "network");
        }
        this.#shares.set(share.id, share);
        return share.view;
      },
      unshare: async (id) => {
        const share = this.#shares.get(id);
        this.#shares.delete(id);
        await share?.close();
      },
      ping: () => this.#connected.ping(),
      close: () => this.close(),
    };
    this.#page?.end(new SSHError("Another page has taken the session over.", "worker"));
    const wire = new Wire<SessionPageMethods>(port, methods);
    this.#page = wire;
    void wire.ended.then(() => { if (this.#page === wire) this.orphan(); });
  }

  get #connected(): GoClient {
    if (!this.#client || this.#state === "closed") throw new SSHError("The session has ended.", "network");
    return this.#client;
  }

  #nextId(): string {
    return `${this.id}.${++this.#serial}`;
  }

  /** The page is asked each time, as a token may be good for a minute only. */
  async #askToken(): Promise<string | null> {
    if (this.#page) {
      try {
        this.#token = await this.#page.call("token");
      } catch {
        // It went while it was asked.
      }
    }
    return this.#token;
  }

  get #hooks(): GoHooks {
    const page = () => {
      if (!this.#page) throw new SSHError("The page that could be asked has gone.", "cancelled");
      return this.#page;
    };
    return {
      ask: async (question) => page().call("ask", question).catch(() => null),
      hostKey: async (question) => {
        const answer = await page().call("hostKey", question).catch(() => "refuse" as const);
        return answer === "once" || answer === "remember" ? answer : "refuse";
      },
      signWebAuthn: async (question) => page().call("signWebAuthn", question),
      remember: (line) => this.#page?.tell("remember", line),
      banner: (text) => this.#page?.tell("banner", text),
      step: (name, host) => this.#page?.tell("step", name, host),
    };
  }

  #is(state: SessionState, away: number): void {
    if (this.#state === "closed") return;
    if (state === "detached") this.#detachedAt = Date.now();
    // A loss while it logs in is told as such, but it is not connected then.
    const next = state === "connected" && !this.#client ? "connecting" : state;
    this.#state = next;
    this.#client?.away(next === "detached");
    this.#page?.tell("state", next, away);
  }

  #finish(ended: Ended): void {
    if (this.#state === "closed") return;
    if (this.#isClosing && this.#client) ended = { reason: "closed", message: "The session was closed." };
    this.#state = "closed";
    for (const share of this.#shares.values()) void share.close();
    this.#page?.tell("state", "closed", 0);
    this.#page?.tell("ended", ended);
    for (const files of this.#files) files.end(new SSHError(ended.message, "network"));
    this.#resolveEnded(ended);
  }
}

function withoutSecrets({ password: _, keys: _keys, jump: _jump, ...options }: ConnectOptions): ConnectOptions {
  return options;
}

