import { backOff, restartSpread, wait } from "./backoff.js";
import { closeError, WsproxyError } from "./error.js";
import { positive } from "./options.js";
import { Session } from "./session.js";

/** TUNNEL_MAX_BODY as the server has it without configuration, in bytes. */
const defaultMaxBody = 10 << 20;
/** Bytes of one WebSocket message from outside; what strangers send waits here until it is whole. */
const defaultMaxMessage = 16 << 20;
/** TUNNEL_HTTP_TIMEOUT as the server has it without configuration, in milliseconds. */
const defaultRequestTimeout = 60_000;
/** Milliseconds before the first new attempt, and at most between two. */
const defaultPauses = { firstDelay: 500, maxDelay: 30_000 };
/** How long a session must have lived, in milliseconds, for the pauses to begin anew. */
const settledAfter = 30_000;
/** A 401 may get better, since a token can be fresh the next time, or the server's keys there again. */
const mostUnauthorized = 3;
/**
 * Close codes and HTTP statuses that will be the same the next time. 4001:
 * another client has taken the tunnel over; two that reconnect would take it
 * from each other for ever.
 */
const finalCodes = new Set([1002, 1003, 1007, 1008, 4001]);
const finalStatuses = new Set([400, 403, 404]);

/**
 * Registers a tunnel: a public address and a raw TCP port that lead to this
 * page. Documented in wsproxy.d.ts.
 */
export async function openTunnel(options) {
  const tunnel = new Tunnel(options);
  await tunnel.start();
  return {
    get url() { return tunnel.session.address.url; },
    get rawPort() { return tunnel.session.address.rawPort; },
    get rawHost() { return tunnel.session.address.rawHost; },
    get credentials() { return tunnel.session.address.credentials; },
    get state() { return tunnel.state; },
    closed: tunnel.closed,
    close: () => tunnel.close(),
  };
}

class Tunnel {
  session;
  closed;

  #options;
  #onError;
  #pauses;
  #stop = new AbortController();
  #closing; // the reason of a stop by close(), told apart from an aborted signal
  #aborted = () => this.#stop.abort(this.#options.signal.reason);
  #isOver = false;
  #resolveClosed;
  #rejectClosed;

  constructor(options) {
    this.#options = {
      ...options,
      maxBody: positive(options, "maxBody") ?? defaultMaxBody,
      maxMessage: positive(options, "maxMessage") ?? defaultMaxMessage,
      requestTimeout: positive(options, "requestTimeout") ?? defaultRequestTimeout,
      onError: (error) => this.#report(error),
    };
    this.#onError = options.onError ?? logError;
    this.#pauses = options.reconnect ? { ...defaultPauses, ...options.reconnect } : undefined;
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve;
      this.#rejectClosed = reject;
    });
    this.closed.catch(() => {}); // who does not look at it need not
  }

  /** Resolves when the tunnel is ready for the first time, and lets it live on by itself. */
  async start() {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    signal?.addEventListener("abort", this.#aborted);
    try {
      await this.#open();
    } catch (error) {
      signal?.removeEventListener("abort", this.#aborted);
      throw error;
    }
    this.#live()
      .finally(() => {
        this.#isOver = true;
        signal?.removeEventListener("abort", this.#aborted);
      })
      .then(this.#resolveClosed, this.#rejectClosed);
  }

  /** As the page is told it: one that is being registered anew is detached too. */
  get state() {
    if (this.#isOver) return "closed";
    return this.session.outlet.state === "connected" ? "connected" : "detached";
  }

  async close() {
    this.#closing ??= new WsproxyError("the tunnel was closed by this page", { code: 1000 });
    this.#stop.abort(this.#closing);
    await this.closed.catch(() => {});
  }

  async #open() {
    this.session = await Session.open(this.#options, this.#stop.signal);
    this.#tell(this.#options.onReady, { ...this.session.address });
  }

  /** Resolves when the tunnel has ended in order, rejects when by an error, for good in either case. */
  async #live() {
    let attempts = 0;
    for (;;) {
      const start = Date.now();
      const end = await this.session.whenEnded;
      if (this.#stop.signal.aborted) return this.#stopped();
      if (end.code === 1000 && !end.error) return { code: end.code, reason: end.reason };
      const error = end.error ?? closeError(end);
      if (!this.#pauses || end.error || finalCodes.has(end.code)) throw error;
      this.#tell(this.#options.onLost, error);
      if (Date.now() - start > settledAfter) attempts = 0;
      try {
        await wait(Math.random() * restartSpread(end), this.#stop.signal);
        attempts = await this.#reopen(attempts);
      } catch (error) {
        if (this.#stop.signal.aborted) return this.#stopped();
        throw error;
      }
    }
  }

  /** Tries until the tunnel is ready again; returns how many attempts there have been. */
  async #reopen(attempts) {
    for (let unauthorized = 0; ; ) {
      await wait(backOff(this.#pauses, attempts++), this.#stop.signal);
      try {
        await this.#open();
        return attempts;
      } catch (error) {
        this.#stop.signal.throwIfAborted();
        unauthorized = error?.status === 401 ? unauthorized + 1 : 0;
        const isFinal = finalCodes.has(error?.code) || finalStatuses.has(error?.status);
        if (isFinal || unauthorized === mostUnauthorized) throw error;
      }
    }
  }

  #stopped() {
    const { reason } = this.#stop.signal;
    if (reason !== this.#closing) throw reason;
    return { code: 1000, reason: "" };
  }

  /** An onError that throws must not take the tunnel with it either. */
  #report(error) {
    try {
      this.#onError(error);
    } catch (failure) {
      logError(failure);
    }
  }

  /** A callback that fails must not take the tunnel with it. */
  #tell(callback, value) {
    try {
      callback?.(value);
    } catch (error) {
      this.#options.onError(error);
    }
  }
}

function logError(error) {
  console.error("wsproxy:", error);
}
