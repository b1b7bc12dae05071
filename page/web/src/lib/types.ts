/** The common language of the page: what applications give and get. */
import type {
  Bytes, GoErrorCode, GoShellEnded, GoStep, HostKeyAnswer, HostKeyQuestion, PrivateKey, Question, SecurityKey,
  WebAuthnAnswer, WebAuthnQuestion,
} from "../worker/bridge.ts";

export type {
  Bytes, FileEntry, GeneratedKey, HostKeyAnswer, HostKeyQuestion, KeyDescription, PrivateKey, Question, SecurityKey,
  WebAuthnAnswer, WebAuthnQuestion,
} from "../worker/bridge.ts";

/** A token of the wsproxy server, or a function that is asked for one at every connect and reconnect. */
export type Token = string | null | undefined | (() => string | null | undefined | Promise<string | null | undefined>);

/** A host, and how to log in there. */
export interface HostOptions {
  host: string;
  /** Default: 22. */
  port?: number;
  user: string;
  /** Without it the prompter is asked, if the host wants one. */
  password?: string;
  keys?: PrivateKey[];
  securityKeys?: SecurityKey[];
  /** Whether the shell's host may have `keys` sign. Default: false. */
  agentForward?: boolean;
  /** The host that is reached first, and may have one before it. */
  jump?: HostOptions;
}

export interface SSHOptions extends HostOptions {
  /** The wsproxy server. Default: the page's own. */
  url?: string | URL;
  token?: Token;
  /** Lines of a known_hosts file. Default: none, so that every host is new. */
  knownHosts?: string;
  /** Seconds of silence after which the host is asked whether it is there. 0: never. Default: 30. */
  keepAliveSeconds?: number;
  /** Asks a person. */
  prompts: Prompter;
  /** Ends the session, also while it connects. */
  signal?: AbortSignal;
  /** What a page that takes the session up after a reload finds in SessionInfo; nothing secret. */
  label?: string;
}

/**
 * Asks a person, and tells. Of jump hosts `host` and `user` say whom it is
 * about. A method that throws counts as given up.
 */
export interface Prompter {
  /** One answer for each prompt, or null to give up. */
  ask(question: Question): Promise<string[] | null>;
  /** A changed or revoked key is refused whatever is answered; it is asked so that the person sees it. */
  hostKey(question: HostKeyQuestion): Promise<HostKeyAnswer>;
  /** A line of known_hosts to keep. */
  remember(line: string): void;
  /** Default: the browser is asked (see webauthn.ts). */
  signWebAuthn?(question: WebAuthnQuestion): Promise<WebAuthnAnswer>;
  banner?(text: string): void;
  step?(step: Step, host: string): void;
}

/** `relay`: the wsproxy server is asked. The others are the SSH client's. */
export type Step = "relay" | GoStep;

/**
 * - `auth`: the host takes none of what was offered
 * - `hostkey`: the host's key is not the known one, or was refused
 * - `unreachable`: the wsproxy server can't reach the host
 * - `blocked`: the wsproxy server may not reach it
 * - `token`: the wsproxy server wants a token, or another one
 * - `limit`: a limit of the wsproxy server is reached
 * - `drained`: the wsproxy server is going down, or knows the session no more
 * - `network`: the wsproxy server can't be reached, or the connection is gone
 * - `protocol`: the other side does not speak SSH, or not as it should
 * - `cancelled`: by the person or the signal
 * - `worker`: the browser has ended the worker, or can't start it
 * - of files: `not_found`, `permission`, `exists`
 * - `failed`: anything else
 */
export type ErrorCode = GoErrorCode | "unreachable" | "blocked" | "token" | "limit" | "drained" | "worker";

/** Why something failed. Its message is a sentence for a person. */
export class SSHError extends Error {
  override readonly name = "SSHError";
  constructor(message: string, readonly code: ErrorCode, options?: ErrorOptions) {
    super(message, options);
  }
}

/** How a session has ended. */
export interface Ended {
  /** `closed`: in order, by this page or by the host. `keepalive`: the host was silent for too long. */
  reason: "closed" | "keepalive" | ErrorCode;
  /** A sentence for a person. */
  message: string;
}

/** `detached`: the network is gone and another line is looked for; the session goes on where it was. */
export type SessionState = "connecting" | "connected" | "detached" | "closed";

export interface SessionEvents {
  state: SessionState;
  /** Back after so many milliseconds. */
  resumed: { away: number };
  ended: Ended;
}

/** A session in the worker, for whoever may take it up. */
export interface SessionInfo {
  id: string;
  label: string;
  host: string;
  port: number;
  user: string;
  state: SessionState;
  /** Milliseconds since 1970. */
  startedAt: number;
  /** Whether a page that is still there has it. */
  isTaken: boolean;
}

export interface ShellOptions {
  /** Default: xterm-256color. Empty: no terminal, so that stderr comes apart and input can end. */
  term?: string;
  cols: number;
  rows: number;
  env?: Record<string, string>;
  /** In place of the user's shell. */
  command?: string;
}

/** How a shell has ended: an exit status, a signal, or the sentence of whatever took it away. */
export type ShellEnded = GoShellEnded;

/**
 * Gets a shell's output, piece after piece. No more than 256 KiB come before
 * its promises are done, so give back xterm's write callback as one. `isReplay` is
 * of a shell that was taken over, and of what was shown before: what the
 * terminal answers to that was answered then, and is not to be sent again.
 */
export type DataHandler = (bytes: Bytes, isStderr: boolean, isReplay: boolean) => Promise<void> | void;

export interface TransferProgress {
  /** Of the whole file, what was there before included. */
  done: number;
  /** NaN if nobody knows. */
  total: number;
}

export interface DownloadOptions {
  /** The offset to begin at. Default: 0. */
  from?: number;
  onProgress?: (progress: TransferProgress) => void;
  signal?: AbortSignal;
}

export interface UploadOptions {
  /** Goes on where an earlier one was cut. Default: false. */
  resume?: boolean;
  /** Bytes of a stream, if they are known. */
  size?: number;
  onProgress?: (progress: TransferProgress) => void;
  signal?: AbortSignal;
}

export interface ShareOptions {
  /** Where to, as the SSH host sees it. Default: localhost. */
  host?: string;
  port: number;
  /** The same name of the same user has the same address each time, if the server knows users. 1 to 64 of a-z, 0-9 and `-`. */
  name?: string;
  /** The `Host` that requests have. Default: localhost:port, because many web servers refuse names that they don't know. Empty: the outside client's. */
  hostHeader?: string;
  /** Whether to take a raw TCP port. Default: true. */
  raw?: boolean;
}

/** `lost`: it is being registered anew, and will have another address unless it has a name. */
export type ShareState = "open" | "detached" | "lost" | "closed";

export interface ShareCounts {
  requests: number;
  /** All since the beginning, raw and HTTP. */
  connections: number;
  /** Those that are open now. */
  open: number;
  /** To the shared port. */
  bytesIn: number;
  /** From it. */
  bytesOut: number;
}

export interface SharedRequest {
  id: number;
  /** Milliseconds since 1970. */
  time: number;
  method: string;
  /** Without query. */
  path: string;
  /** 0 until there is an answer, and if there was none. */
  status: number;
  /** Until the answer's head, or until now. */
  ms: number;
}

/** What a share looks like now. */
export interface ShareView {
  id: string;
  host: string;
  port: number;
  state: ShareState;
  url: string;
  /** The host to connect to for rawPort. */
  rawHost: string;
  /** 0 if there is none. */
  rawPort: number;
  /** Whether the server passes cookies and Authorization on; undefined if it does not say. */
  credentials?: boolean;
  counts: ShareCounts;
  /** The latest 100, the newest first. */
  requests: SharedRequest[];
  /** Whether the latest connection has found nobody at the port. */
  isUnanswered: boolean;
  /** Why it is lost or has ended, or the latest connection failed; a sentence. */
  message: string;
}

/** What the browser lets live: see lifetime() */
export interface Lifetime {
  /** Sessions live on when the page is reloaded, and can be adopted. */
  survivesReload: boolean;
  /** Only as long as another page of this origin is open. */
  needsOtherPage: boolean;
}
