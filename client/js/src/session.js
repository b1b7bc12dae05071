import { tunnelAddress } from "./address.js";
import { Connection, http, parseFrame } from "./connection.js";
import { closeError, WsproxyError } from "./error.js";
import { answer, timeoutAnswer } from "./http.js";
import { openLine } from "./line.js";
import { units } from "./replay.js";
import { Deadline } from "./request.js";
import { serveHTTP } from "./server.js";
import { currentToken } from "./socket.js";
import { Turns } from "./turns.js";

/** Messages that the server may send before this side has handled some of them, when it may send more than it does at first. */
const window = 1024;
/** Bytes that may wait in the WebSocket before an http_response joins them; connections and credit go past it. */
const answerRoom = 256 << 10;

/**
 * One registration of a tunnel, until the server has ended it; docs/protocol.md,
 * 4. It has one WebSocket, or with resume one after the other.
 */
export class Session {
  /** What tunnel_ready says, as a `TunnelAddress`, once it has come. */
  address;
  /** Resolves to `{code, reason}` when it has ended, with `error` if this side found fault with it. */
  whenEnded;

  outlet;
  turns;
  #options;
  #window;
  #connections = new Map(); // connId to Connection
  #requests = new Set(); // Deadlines of each http_request that has not been answered
  #over = false; // nothing can be sent any more
  #answers = Promise.resolve(); // ends when every answer so far has been sent
  #signal;
  #stop = () => this.close(this.#signal.reason);
  #resolveReady;
  #resolveEnded;
  #fault;

  /**
   * Registers a tunnel.
   *
   * @param {object} options see `TunnelOptions` in wsproxy.d.ts, with onError, maxBody and requestTimeout
   * @param {AbortSignal} signal closes it
   * @returns {Promise<Session>} that is ready
   */
  static async open(options, signal) {
    const session = new Session(options, signal);
    const ready = new Promise((resolve) => { session.#resolveReady = resolve; });
    await openLine(tunnelAddress(options), { ...options, signal, window }, units.messages, session);
    await Promise.race([ready, session.whenEnded]);
    if (session.address === undefined) {
      signal.throwIfAborted();
      const end = await session.whenEnded;
      throw end.error ?? closeError(end);
    }
    return session;
  }

  constructor(options, signal) {
    this.#options = options;
    this.#signal = signal;
    this.whenEnded = new Promise((resolve) => { this.#resolveEnded = resolve; });
  }

  /** Ends it: connections that are open are lost, requests that are pending are answered 502 by the server. */
  close(error) {
    this.#loseAll(error);
    this.outlet.abort();
  }

  // What the server says.

  opened(line) {
    this.outlet = line;
    this.turns = new Turns(this.outlet);
    this.#signal.addEventListener("abort", this.#stop);
  }

  received(data) {
    if (this.#over) return;
    try {
      if (data instanceof Uint8Array) this.#data(parseFrame(data));
      else this.#control(typeof data === "string" ? JSON.parse(data) : data);
      this.outlet.look();
    } catch (cause) {
      this.#fault ??= new WsproxyError("the server sent what is not of the wsproxy protocol", { cause });
      this.close(this.#fault);
    }
  }

  ended({ code, reason, error }) {
    this.#signal.removeEventListener("abort", this.#stop);
    this.#fault ??= error;
    this.#loseAll(this.#fault ?? closeError({ code, reason }));
    this.#resolveEnded({ code, reason, error: this.#fault });
  }

  #control(message) {
    switch (message.type) {
      case "tunnel_ready":
        return this.#ready(message);
      case "http_request":
        return void this.#answer(message);
      case "tcp_open":
        return this.#open(message);
      case "tcp_credit":
        return this.#connections.get(message.connId)?.credited(message.bytes);
      case "auth_expires":
        return void this.#renew();
      case "tcp_close":
        return this.#connections.get(message.connId)?.closedByServer(message.reason);
    }
  }

  #ready({ tunnelUrl, rawPort, rawHost, credentials, window }) {
    if (!(Number.isSafeInteger(window) && window > 0)) {
      this.#fault = new WsproxyError("the server does not speak flow=credit, which this client needs");
      this.close(this.#fault);
      return;
    }
    this.address = { url: tunnelUrl, rawPort, rawHost, credentials };
    this.#window = window;
    this.#resolveReady();
  }

  /** The server is about to end the tunnel with its token: it is shown a fresh one, if the page has one. */
  async #renew() {
    const { token, onError } = this.#options;
    if (typeof token !== "function") return;
    try {
      const fresh = await currentToken(token, this.#signal);
      if (fresh && !this.#over) this.sendControl({ type: "auth", token: fresh });
    } catch (error) {
      if (!this.#signal.aborted) onError(error);
    }
  }

  /**
   * Of a server that has no http=bytes. Answers go one by one, as there is room, so that they do not pile up in
   * front of everything else. The protocol has no message that tells that the
   * server has given a request up, so the time-out is kept here too; it
   * includes the wait for room.
   */
  async #answer(message) {
    const { onRequest, onError, maxBody, requestTimeout } = this.#options;
    const deadline = new Deadline(requestTimeout);
    const { signal } = deadline;
    this.#requests.add(deadline);
    let text = await answer(message, { url: this.address.url, signal, onRequest, onError, maxBody });
    const giveUp = () => {
      text = undefined; // it may be large
      if (this.#over) return;
      text = timeoutAnswer(message);
      onError(signal.reason);
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp);
    this.#answers = this.#answers.then(async () => {
      await this.outlet.room(answerRoom);
      deadline.clear();
      this.#requests.delete(deadline);
      if (text !== undefined) this.outlet.send(text);
    });
  }

  async #open(message) {
    const { onError } = this.#options;
    const handler = this.#handlerOf(message.protocol);
    if (!handler) {
      this.sendControl({ type: "tcp_close", connId: message.connId });
      return;
    }
    const connection = new Connection(this, message, this.#window);
    this.#connections.set(message.connId, connection);
    try {
      await handler(connection);
    } catch (error) {
      // What the streams have said already is no news.
      if (error !== connection.error) onError(error);
      connection.refuse(error);
    }
  }

  /** A protocol that a later server may have is none of these. */
  #handlerOf(protocol) {
    const { onConnection, httpConnections } = this.#options;
    const toPage = onConnection && ((connection) => onConnection(connection.streams));
    if (protocol === undefined) return toPage;
    if (protocol !== http) return undefined;
    if (httpConnections && toPage) return toPage;
    return (connection) => serveHTTP(connection, { ...this.#options, url: this.address.url });
  }

  /** Data for a connection that has ended here was on its way. */
  #data({ connId, payload }) {
    this.#connections.get(connId)?.received(payload);
  }

  // What connections ask for.

  sendControl(message) {
    this.outlet.send(JSON.stringify(message));
  }

  forget(connId) {
    this.#connections.delete(connId);
  }

  #loseAll(error) {
    this.#over = true;
    for (const connection of [...this.#connections.values()]) connection.lost(error);
    for (const request of this.#requests) request.abort(error);
    this.#requests.clear();
  }
}
