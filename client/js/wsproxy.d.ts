/**
 * A token (JWT), or a function that is asked for one at every connect and reconnect, and when the server is about to
 * end a tunnel because its token expires.
 */
export type Token = string | null | undefined | (() => string | null | undefined | Promise<string | null | undefined>);

/** Uint8Array, of an ArrayBuffer where TypeScript tells that apart (from 5.9 on). */
export type Bytes = ReturnType<TextEncoder["encode"]>;

interface ServerOptions {
  /**
   * The server's address: `wss://proxy.example.com`, or http, https, ws; with or
   * without `/relay` or `/tunnel`; or relative to the page, such as `/`.
   */
  url: string | URL;
  /** Needed if the server has authentication. It is never put into a URL. */
  token?: Token;
  /** Ends everything, at any time: promises reject and streams error with its reason. */
  signal?: AbortSignal;
}

/**
 * `detached`: the WebSocket was lost, and another one is looked for. `closed`:
 * it has ended for good.
 */
export type SessionState = "connected" | "detached" | "closed";

interface ResumeOptions {
  /**
   * Whether the session outlives its WebSocket, if the server knows how: after a
   * change of network, sleep, or a front proxy's restart the streams simply go
   * on. The token is asked for anew each time. It ends with an error when the
   * server says that the session is over (4404, 4409, 4001 if another client has
   * it), or could not be reached in time (reason `resume_timeout`). Default: true.
   */
  resume?: boolean;
  /** Called when the WebSocket was lost and another one is looked for. */
  onDetached?: (error: WsproxyError) => void;
  /** Called when it was found; `away` are the milliseconds between. */
  onResumed?: (told: { away: number }) => void;
}

interface TCPTarget {
  /** A name, an IPv4 or an IPv6 address, as the server is to see it. */
  host: string;
  /** 1 to 65535. */
  port: number | string;
  cfDomain?: undefined;
  cfId?: undefined;
  cfSecret?: undefined;
}

interface CloudflareAccessTarget {
  host?: undefined;
  port?: undefined;
  /** A service behind Cloudflare Access. */
  cfDomain: string;
  /** `CF-Access-Client-Id`. Protocol and server put it and the secret into the URL. */
  cfId: string;
  /** `CF-Access-Client-Secret`. */
  cfSecret: string;
}

interface RelayLimits {
  /**
   * Bytes that may have come and wait to be read from `readable`. With more the
   * target is held up; it is 64 KiB at least, and 4 MiB by default. In a plain
   * session, which can't hold it up, the relay ends with an error instead, and
   * the default is 64 MiB.
   */
  maxUnread?: number;
  /**
   * Whether `writable` goes on when the target has ended its side. If not, that
   * is the end of both, as in a plain session. Default: false.
   */
  allowHalfOpen?: boolean;
}

export type RelayOptions = ServerOptions & ResumeOptions & RelayLimits & (TCPTarget | CloudflareAccessTarget);

/** How a WebSocket ended. The code of an end in order is 1000. */
export interface CloseInfo {
  code: number;
  reason: string;
}

export interface Relay {
  /**
   * What the target sends. It closes when the target has ended in order, and
   * errors with a `WsproxyError` otherwise. Cancelling it closes the relay.
   *
   * What is not read waits in the page's memory, up to `maxUnread`.
   */
  readable: ReadableStream<Bytes>;
  /**
   * What the target gets. A write is done when the server will take it, and no
   * more than 1 MiB waits in the browser: a slow target slows its writer down.
   * Closing it ends the page's side alone, and is done when everything was
   * delivered; in a plain session it closes the relay, in both directions.
   * Aborting it closes the relay at once, and resets the target unless the
   * session is a plain one.
   */
  writable: WritableStream<BufferSource>;
  readonly state: SessionState;
  /**
   * Resolves when the relay has ended in order, by the target or by this page,
   * and rejects with a `WsproxyError`, or the signal's reason, otherwise. It
   * need not be looked at.
   */
  closed: Promise<CloseInfo>;
}

/**
 * Opens a TCP connection to a host and port, through the server.
 *
 * It resolves when the server has accepted the relay, and rejects with a
 * `WsproxyError` if the server refused. Only then the target is dialled: one
 * that cannot be reached errors the streams, with code 1011.
 */
export function connectRelay(options: RelayOptions): Promise<Relay>;

/** What a `Request` can't say of a request. */
export interface TunnelRequestInfo {
  /** As it came; a Request may change its capitals. */
  method: string;
  /** Path and query, untouched. Begins with `/`, or is `*`. */
  path: string;
  /** All headers that the server passed on. Browsers drop some from a Request: Cookie, Origin, Referer, Date and others. */
  headers: Headers;
  /** The outside client's address as the server judged it, without a port. */
  remoteAddr: string;
  /** The body of a GET or HEAD, which a Request can't have, up to `maxBody`. */
  body?: Bytes;
  /**
   * Aborted when an answer is of no use any more: the outside client has gone,
   * or the tunnel has ended. An answer's body that is being read is then
   * cancelled. The Request's own signal says the same. (With a server that sends
   * requests as messages it is this one alone, and says `requestTimeout`, with
   * a `TimeoutError`, and the tunnel's end.)
   */
  signal: AbortSignal;
  /** Trailers of the request, there when its body was read to the end. */
  trailers?: Headers;
  /** Trailers of the answer, to be added to until its body has ended. They are sent if it has no Content-Length. */
  answerTrailers?: Headers;
  /**
   * Values of `Set-Cookie`, to be added to. Browsers drop that header from a
   * Response. The server passes cookies on only with TUNNEL_FORWARD_CREDENTIALS.
   */
  setCookies: string[];
}

/**
 * The server's end of a WebSocket of the outside world, with the API of the
 * browser's own class `WebSocket`; what differs is said here.
 */
export interface TunnelSocket extends EventTarget {
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;
  /** CONNECTING until the handler of `onWebSocket` has returned, or what it gave to accept() has been decided. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** The address that the outside client asked for. */
  readonly url: string;
  /** The subprotocols that the client offers, the one that it likes best first. */
  readonly protocols: readonly string[];
  /** The subprotocol that was chosen; empty if there is none. */
  readonly protocol: string;
  readonly extensions: "";
  binaryType: "blob" | "arraybuffer";
  /** Bytes given to send() that wait, for credit of a client that reads slowly too. */
  readonly bufferedAmount: number;
  onopen: ((event: Event) => unknown) | null;
  onmessage: ((event: MessageEvent) => unknown) | null;
  onerror: ((event: Event) => unknown) | null;
  onclose: ((event: CloseEvent) => unknown) | null;
  addEventListener(type: "open" | "error", listener: (event: Event) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: "close", listener: (event: CloseEvent) => unknown, options?: boolean | AddEventListenerOptions): void;
  /**
   * Accepts it with a subprotocol, one of `protocols` or "" for none, or a
   * promise of it; one that rejects refuses the WebSocket with 500. Without a
   * call it is accepted when the handler has returned, or reached its first
   * await, with the first of `protocols`.
   */
  accept(protocol?: string | Promise<string | undefined>): void;
  send(data: string | BufferSource | Blob): void;
  /**
   * Closes it after what was sent. Before it is open: refuses it, with 403. All
   * codes that may be sent are taken, those of a server too, such as 1011.
   */
  close(code?: number, reason?: string): void;
}

/** One connection of a tunnel: raw TCP to its port, or HTTP if `httpConnections` asks for them. */
export interface TunnelConnection {
  /**
   * What the peer sends. It closes when the peer has ended its sending side;
   * `writable` then goes on. The peer is held up while it isn't read. After
   * cancelling it, what still comes is dropped and `writable` goes on.
   */
  readable: ReadableStream<Bytes>;
  /**
   * What the peer gets. A write is done when the server has given credit for
   * it. Closing it ends the connection, in both directions, after everything
   * was delivered; aborting it does so at once, and of HTTP tells the outside
   * client that an answer was cut. To be closed in any case.
   */
  writable: WritableStream<BufferSource>;
  /** `http/1.1` if it carries HTTP, with the proxy as the client. */
  protocol: "tcp" | "http/1.1";
  /** The peer's address and port as the server sees it. */
  remoteAddr: string;
  /** The server's name for the connection; also in its log. */
  id: string;
}

/** The tunnel's address of now. After a reconnect it is another one. */
export interface TunnelAddress {
  /** Such as `https://4ee39bcd8da45d39.tunnel.example.com`. */
  url: string;
  /** TCP port on `rawHost`, or 0 if none was free. */
  rawPort: number;
  /** The host to connect to for `rawPort`. Undefined if the server does not say; then it is the server's own. */
  rawHost: string | undefined;
  /**
   * Whether the server passes credentials on: cookies and `Authorization` to the
   * page, `Set-Cookie` from it (TUNNEL_FORWARD_CREDENTIALS). If not, logins fail.
   * Undefined if the server does not say.
   */
  credentials: boolean | undefined;
}

/** All in milliseconds. */
export interface ReconnectOptions {
  /** Longest pause before the first attempt; each later one is twice as long. Default 500. */
  firstDelay?: number;
  /** Longest pause between two attempts. Default 30,000. */
  maxDelay?: number;
}

export interface TunnelOptions extends ServerOptions, ResumeOptions {
  /**
   * Answers an HTTP request. Without it all are answered 501; one that throws,
   * 500. Bodies are streams, both ways: what is not read holds its sender up. An
   * answer without Content-Length goes out in chunks; one that is not as long as
   * it says is cut, so that it never looks whole.
   *
   * A server without `http=bytes` sends requests as messages: then both bodies are
   * whole, and bounded by `maxBody` and `requestTimeout`.
   */
  onRequest?: (request: Request, info: TunnelRequestInfo) => Response | Promise<Response>;
  /**
   * Gets each WebSocket of the outside world. Without it `onRequest` gets them
   * as requests. One that throws refuses it with 500. What an event handler
   * throws goes to onError.
   */
  onWebSocket?: (socket: TunnelSocket, request: Request, info: TunnelRequestInfo) => unknown;
  /** Largest message of such a WebSocket in bytes; a larger one closes it with 1009. Default: 16 MiB. */
  maxMessage?: number;
  /**
   * Gets each raw TCP connection. Without it all are closed at once; if it
   * throws, that connection is closed.
   */
  onConnection?: (connection: TunnelConnection) => unknown;
  /**
   * HTTP connections go to `onConnection` too, in place of onRequest and
   * onWebSocket: for a page that passes bytes on to a web server. One for which
   * it throws before it has written is answered 502. Default: false.
   */
  httpConnections?: boolean;
  /** The `Host` that the page's requests have, in place of the outside client's: some web servers refuse names that they don't know. */
  host?: string;
  /**
   * The same name of the same user has the same address each time, if the server
   * has authentication and TUNNEL_NAME_SECRET. 1 to 64 of a-z, 0-9 and `-`.
   */
  name?: string;
  /** Whether to take a raw TCP port. Default: true. */
  raw?: boolean;
  /** Called each time the tunnel is ready, the first time included. */
  onReady?: (address: TunnelAddress) => void;
  /** Called each time the tunnel was lost, with its address, and will be registered anew. */
  onLost?: (error: WsproxyError) => void;
  /** Gets what the other callbacks throw, and answers that can't be sent. Default: console.error. */
  onError?: (error: unknown) => void;
  /**
   * Registers the tunnel anew after an unexpected end, with growing pauses,
   * until close(), the signal, or a refusal that will not get better. Default:
   * false. The first registration is tried once in any case.
   */
  reconnect?: boolean | ReconnectOptions;
  /**
   * With a server that sends requests as messages: largest body of an answer in
   * bytes. Reading stops there, the body's stream is cancelled, and the request
   * answered 502. To be what the server has as
   * TUNNEL_MAX_BODY. Default: 10 MiB, as there. With others it bounds the body
   * of a GET or HEAD only (413).
   */
  maxBody?: number;
  /**
   * With a server that sends requests as messages: milliseconds from a
   * request's arrival until its answer is handed to the WebSocket. Then the request is given up: `signal` of its TunnelRequestInfo is
   * aborted, the answer's stream cancelled, and the request answered 504. To be
   * what the server has as TUNNEL_HTTP_TIMEOUT, which does not tell the page that
   * it has given a request up. Default: 60,000, as there.
   */
  requestTimeout?: number;
}

export interface Tunnel extends Readonly<TunnelAddress> {
  /** One that is being registered anew is `detached` too. */
  readonly state: SessionState;
  /**
   * Resolves after close(), and rejects with a `WsproxyError`, or the signal's
   * reason, when the tunnel has ended otherwise, for good. It need not be looked at.
   */
  readonly closed: Promise<CloseInfo>;
  /**
   * Ends the tunnel: open connections are lost, pending requests are answered
   * 502 by the server. Resolves when it has ended.
   */
  close(): Promise<void>;
}

/** Registers a tunnel: a public address and a raw TCP port that lead to this page. */
export function openTunnel(options: TunnelOptions): Promise<Tunnel>;

/** What a server, a target or a peer did to a relay, a tunnel or a connection. */
export class WsproxyError extends Error {
  constructor(message: string, details?: { code?: number; reason?: string; status?: number; cause?: unknown });
  readonly name: "WsproxyError";
  /** WebSocket close code; 1006 for one that did not open, was lost, or could not be taken up in time. Undefined if only one connection ended. */
  readonly code: number | undefined;
  /**
   * The server's own words: its sentence, `resume_timeout`, or the reason of a tcp_close (`reset`,
   * `limit`, `slow`, `unknown`, `restart`, `shutdown`; a later server may have others). Else empty.
   */
  readonly reason: string;
  /** HTTP status with which the server refused the WebSocket, if it could be learned. */
  readonly status: number | undefined;
}
