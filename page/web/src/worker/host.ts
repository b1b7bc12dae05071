import type { GoAPI } from "./bridge.ts";
import type { ConnectOptions, WorkerMethods } from "./protocol.ts";
import { WorkerSession } from "./session.ts";
import { Wire, type Port } from "./wire.ts";
import { SSHError, type HostOptions, type SessionInfo } from "../lib/types.ts";

/** Milliseconds that a session waits for a page that takes it over: for a reload, or for a tab that was closed by mistake. */
const defaultPatience = 60_000;
/**
 * The same when no page is left at all. Chromium keeps the worker for 30 s then:
 * before that it has to be over in order, because a session whose worker is
 * gone is kept by the server until RESUME_TIMEOUT.
 */
const defaultLonely = 15_000;
/** Milliseconds that it may take until a page that has gone is known to have. */
const takeover = 2000;

/** A page, and the sessions that it has. */
interface Page {
  wire: Wire<object>;
  sessions: Set<WorkerSession>;
}

interface Kept {
  session: WorkerSession;
  /** Whose it is, or was. */
  page: Page;
  /** Ends it when nobody has taken it over. */
  timer?: ReturnType<typeof setTimeout>;
}

/** All that lives in the worker: the sessions of all pages. */
export class Host {
  #api: Promise<GoAPI>;
  #patience: number;
  #lonely: number;
  #outlives = false; // the worker its last page, for some seconds
  #sessions = new Map<string, Kept>();
  #pages = new Set<Page>();

  /**
   * @param options milliseconds that a session waits for another page: `patience` while there are any, `lonely` when
   *   there is none
   */
  constructor(api: Promise<GoAPI>, { patience = defaultPatience, lonely = defaultLonely } = {}) {
    this.#api = api;
    this.#patience = patience;
    this.#lonely = lonely;
    api.catch(() => {}); // who calls is told
  }

  /** Serves a page until it is gone. */
  serve(port: Port): void {
    const page: Page = { sessions: new Set(), wire: undefined! };
    const methods: { [K in keyof WorkerMethods]: (...args: Parameters<WorkerMethods[K]>) => unknown } = {
      hello: (lock, outlives) => {
        this.#outlives = outlives === true;
        this.#watch(page, lock);
      },
      connect: (options, port) => this.#connect(page, options, port),
      list: () => this.#list(),
      adopt: async (id, port) => {
        const kept = this.#sessions.get(String(id));
        if (!kept) throw new SSHError("That session is not there any more.", "not_found");
        // A page that was reloaded may ask before the worker knows that the one before has gone.
        if (kept.session.info.isTaken) await Promise.race([kept.page.wire.ended, pause(takeover)]);
        if (kept.session.info.isTaken) throw new SSHError("Another page has that session.", "exists");
        clearTimeout(kept.timer);
        kept.page = page;
        page.sessions.add(kept.session);
        return kept.session.adopt(port);
      },
      generateKey: async (options) => (await this.#api).generateKey(options),
      describeKey: async (text, passphrase) => (await this.#api).describeKey(text, passphrase),
      fingerprint: async (publicKey) => (await this.#api).fingerprint(publicKey),
      woke,
      bye: () => page.wire.end(),
    };
    page.wire = new Wire<object>(port, methods);
    this.#pages.add(page);
    void page.wire.ended.then(() => this.#left(page));
  }

  /** The SSH client is gone, and everything with it. */
  fail(error: SSHError): void {
    for (const { session } of this.#sessions.values()) session.fail(error);
    for (const { wire } of this.#pages) wire.end(error);
  }

  /**
   * A page that crashes says nothing. Of a lock the browser tells when its
   * holder is gone; where a page can't have one, the port's own event and bye
   * have to do.
   */
  #watch(page: Page, lock: string): void {
    if (typeof lock !== "string" || lock === "" || !globalThis.navigator?.locks) return;
    void navigator.locks.request(lock, () => { page.wire.end(); }).catch(() => {});
  }

  async #connect(page: Page, options: ConnectOptions, port: MessagePort): Promise<SessionInfo> {
    check(options);
    const api = await this.#api;
    const session = new WorkerSession(api, newId(), options);
    const kept: Kept = { session, page };
    this.#sessions.set(session.id, kept);
    page.sessions.add(session);
    void session.ended.then(() => {
      // A page that comes later finds how it ended only if it had it.
      clearTimeout(kept.timer);
      this.#sessions.delete(session.id);
      kept.page.sessions.delete(session);
    });
    if (page.wire.isEnded) throw new SSHError("The page has gone.", "worker");
    return session.connect(port);
  }

  #list(): SessionInfo[] {
    return [...this.#sessions.values()].map(({ session }) => session.info).filter(({ state }) => state !== "connecting");
  }

  #left(page: Page): void {
    this.#pages.delete(page);
    for (const session of page.sessions) session.orphan();
    page.sessions.clear();
    const wait = this.#pages.size > 0 ? this.#patience : this.#outlives ? this.#lonely : 0;
    for (const kept of this.#sessions.values()) {
      const { session } = kept;
      if (session.info.isTaken || (kept.page !== page && this.#pages.size > 0)) continue;
      clearTimeout(kept.timer);
      if (wait > 0) kept.timer = setTimeout(() => session.close(), wait);
      else session.abort();
    }
  }
}

/** What comes from a page is taken as it is from here on. */
function check(options: HostOptions): void {
  const { host, user, port = 22, jump } = options ?? {};
  if (typeof host !== "string" || host === "") throw new SSHError("The host is missing.", "protocol");
  if (typeof user !== "string" || user === "") throw new SSHError("The user is missing.", "protocol");
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) throw new SSHError(`${String(port)} is no port.`, "protocol");
  if (jump !== undefined) check(jump);
}

/** Not to be guessed, though only pages of the same origin can ask. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

/** client/js looks for lost lines at once when the page goes on. A worker has not the events that say so. */
function woke(): void {
  globalThis.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
}
