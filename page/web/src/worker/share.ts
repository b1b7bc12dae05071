import { openTunnel, type Tunnel, type TunnelConnection } from "../../../../client/js/wsproxy.js";
import type { Bytes, GoClient } from "./bridge.ts";
import { explain } from "./explain.ts";
import { Exchange } from "./http.ts";
import type { SharedRequest, ShareOptions, ShareState, ShareView } from "../lib/types.ts";
import { SSHError } from "../lib/types.ts";

/** Requests that are kept for being shown. */
const latest = 100;
/** Milliseconds between two tellings of what a share looks like. */
const pause = 200;

/** A port of the SSH host's world that has a public address. */
export class WorkerShare {
  readonly id: string;
  #client: GoClient;
  #options: ShareOptions & { host: string };
  #tunnel!: Tunnel;
  #stop = new AbortController();
  #state: ShareState = "open";
  #message = "";
  #isUnanswered = false;
  #counts = { requests: 0, connections: 0, open: 0, bytesIn: 0, bytesOut: 0 };
  #requests: (SharedRequest & { isOpen: boolean })[] = []; // the newest last
  #changed: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param changed called when it looks different, not too often */
  static async open(
    client: GoClient, id: string, options: ShareOptions, server: { url: string; token: () => Promise<string | null> }, changed: (share: WorkerShare) => void,
  ): Promise<WorkerShare> {
    const { port, host = "localhost" } = options;
    if (!Number.isSafeInteger(port) || port < 1 || port > 65_535) throw new SSHError(`${String(port)} is no port.`, "protocol");
    const share = new WorkerShare(client, id, { ...options, host, port }, changed);
    await share.#open(server);
    return share;
  }

  private constructor(client: GoClient, id: string, options: ShareOptions & { host: string }, changed: (share: WorkerShare) => void) {
    this.#client = client;
    this.id = id;
    this.#options = options;
    this.#changed = () => changed(this);
  }

  async #open(server: { url: string; token: () => Promise<string | null> }): Promise<void> {
    const { host, port, name, raw = true, hostHeader = `${host.includes(":") ? `[${host}]` : host}:${port}` } = this.#options;
    try {
      this.#tunnel = await openTunnel({
        ...server,
        signal: this.#stop.signal,
        httpConnections: true,
        reconnect: true,
        raw,
        ...(name && { name }),
        ...(hostHeader && { host: hostHeader }),
        onConnection: (connection) => this.#serve(connection),
        onReady: () => this.#is("open", ""),
        onDetached: () => this.#is("detached", "The network is gone; looking for another line."),
        onResumed: () => this.#is("open", ""),
        onLost: (error) => this.#is("lost", explain(error, "the tunnel").message),
        onError: (error) => { // of one connection
          this.#message = explain(error, `${host}:${port}`).message;
          this.#change();
        },
      });
    } catch (error) {
      throw explain(error, "the tunnel");
    }
    this.#tunnel.closed.then(() => this.#is("closed", ""), (error) => {
      this.#is("closed", this.#stop.signal.aborted ? "" : explain(error, "the tunnel").message);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort(new SSHError("The port is no longer shared.", "cancelled"));
    await this.#tunnel.closed.catch(() => {});
    clearTimeout(this.#timer);
  }

  get view(): ShareView {
    const { host, port } = this.#options;
    const { url, rawHost, rawPort, credentials } = this.#tunnel;
    const now = Date.now();
    return {
      id: this.id, host, port, url, rawPort,
      rawHost: rawHost ?? new URL(url).hostname,
      ...(credentials !== undefined && { credentials }),
      state: this.#state,
      isUnanswered: this.#isUnanswered,
      counts: { ...this.#counts },
      requests: this.#requests.map(({ isOpen, ...request }) => isOpen ? { ...request, ms: now - request.time } : request).reverse(),
      message: this.#message,
    };
  }

  #is(state: ShareState, message: string): void {
    this.#state = state;
    this.#message = message;
    this.#change();
  }

  #change(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#tunnel) this.#changed();
    }, pause);
  }

  /** One connection. If the host can't reach the port this rejects, which is a 502 to the outside. */
  async #serve({ readable, writable, protocol }: TunnelConnection): Promise<void> {
    const counts = this.#counts;
    counts.connections++;
    counts.open++;
    this.#change();
    const mine = new Set<SharedRequest & { isOpen: boolean }>();
    try {
      const service = await this.#dial();
      if (this.#state === "open") this.#message = ""; // what an earlier connection has met is over
      const exchange = protocol === "http/1.1" ? new Exchange((method, path) => this.#asked(method, path, mine)) : undefined;
      const inbound = counting((bytes) => {
        counts.bytesIn += bytes.length;
        exchange?.requests.read(bytes);
        this.#change();
      });
      const outbound = counting((bytes) => {
        counts.bytesOut += bytes.length;
        exchange?.answers.read(bytes);
        this.#change();
      });
      // Each end is passed on as what it is: an end in order as such, an
      // aborted one as such. When the service has ended, that is the end of the
      // connection, so what the peer still says is of no use.
      const cut = new AbortController();
      const incoming = readable.pipeThrough(inbound).pipeTo(service.writable, { signal: cut.signal });
      incoming.catch(() => {});
      try {
        await service.readable.pipeThrough(outbound).pipeTo(writable);
      } finally {
        cut.abort(new SSHError("The service has ended the connection.", "network"));
      }
    } finally {
      counts.open--;
      for (const request of mine) close(request);
      this.#change();
    }
  }

  async #dial(): Promise<Awaited<ReturnType<GoClient["dial"]>>> {
    try {
      const service = await this.#client.dial(this.#options.host, this.#options.port);
      this.#isUnanswered = false;
      return service;
    } catch (error) {
      this.#isUnanswered = true;
      throw error;
    }
  }

  #asked(method: string, path: string, mine: Set<SharedRequest & { isOpen: boolean }>): (status: number) => void {
    const request = { id: ++this.#counts.requests, time: Date.now(), method, path, status: 0, ms: 0, isOpen: true };
    mine.add(request);
    this.#requests.push(request);
    if (this.#requests.length > latest) this.#requests.shift();
    return (status) => {
      request.status = status;
      mine.delete(request);
      close(request);
      this.#change();
    };
  }
}

function close(request: SharedRequest & { isOpen: boolean }): void {
  request.isOpen = false;
  request.ms = Date.now() - request.time;
}

function counting(count: (bytes: Bytes) => void): TransformStream<Bytes, Bytes> {
  return new TransformStream({
    transform(bytes, controller) {
      count(bytes);
      controller.enqueue(bytes);
    },
  }, undefined, { highWaterMark: 0 });
}
