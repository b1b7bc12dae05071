/**
 * What the SSH client, Go compiled to WebAssembly, gives the worker. When it
 * runs it calls `globalThis.goReady(api)` once. Numbers are JS numbers, bytes are
 * `Uint8Array`s that belong to whoever gets them. Errors are `Error`s with a
 * `code` (GoErrorCode) and a message that is a sentence for a person.
 */

/** Bytes of an ArrayBuffer, which can be transferred. */
export type Bytes = Uint8Array<ArrayBuffer>;

export interface Duplex {
  /** Closes when the other side has ended in order; errors otherwise. */
  readable: ReadableStream<Bytes>;
  /** Closing it ends this side alone; aborting it ends everything at once. */
  writable: WritableStream<Bytes>;
}

export type GoErrorCode =
  | "auth" | "hostkey" | "network" | "protocol" | "cancelled"
  | "not_found" | "permission" | "exists" | "failed";

export interface GoAPI {
  /**
   * Speaks SSH over a connection, and resolves when the user is logged in. The
   * connection is Go's from then on: it is ended with the client.
   */
  connect(conn: Duplex, options: GoOptions, hooks: GoHooks): Promise<GoClient>;
  /** A new ed25519 key in OpenSSH's format, encrypted if there is a passphrase. */
  generateKey(options: { comment: string; passphrase?: string }): Promise<GeneratedKey>;
  /** What a private key (OpenSSH, PEM), a public one or a certificate is. Rejects with "protocol" for other text, "auth" for a wrong passphrase. */
  describeKey(text: string, passphrase?: string): Promise<KeyDescription>;
  /** `SHA256:...` of a line of an authorized_keys file. Throws for other text. */
  fingerprint(publicKey: string): string;
  /** Functions that reject what is under way, to be called if the program has ended. */
  pending?: Set<(error: Error) => void>;
}

export interface GeneratedKey {
  privateKey: string;
  /** A line for authorized_keys. */
  publicKey: string;
  fingerprint: string;
}

export interface KeyDescription {
  /** Such as `ssh-ed25519`. */
  type: string;
  fingerprint: string;
  comment: string;
  /** A line for authorized_keys. Empty if only the passphrase would show it. */
  publicKey: string;
  encrypted: boolean;
  certificate?: {
    keyId: string;
    serial: string;
    principals: string[];
    /** Milliseconds since 1970; 0 and Infinity where it says none. */
    validFrom: number;
    validTo: number;
    authority: string;
  };
}

/** A private key, and what belongs to it. */
export interface PrivateKey {
  /** OpenSSH's format or PEM. */
  privateKey: string;
  /** If it is encrypted and this is missing, hooks.ask is asked. */
  passphrase?: string;
  /** The user's certificate of it: a line as in id_ed25519-cert.pub. */
  certificate?: string;
}

/** A key inside a security key or a device, used by WebAuthn. */
export interface SecurityKey {
  /** `sk-ecdsa-sha2-nistp256@openssh.com AAAA...` or the ed25519 one. */
  publicKey: string;
  /** WebAuthn's relying party: the page's host name. */
  application: string;
  /** Base64url. */
  credentialId: string;
}

export interface GoOptions {
  /** As known_hosts names it. */
  host: string;
  port: number;
  user: string;
  /** Without it hooks.ask is asked, if the server wants one. */
  password?: string;
  keys: PrivateKey[];
  securityKeys: SecurityKey[];
  /** Lines of a known_hosts file, with @cert-authority and @revoked. */
  knownHosts: string;
  /** Whether the shell's host may have `keys` sign, for logins further on. */
  agentForward: boolean;
  /** The host that is reached first. The connection given leads to the outermost. */
  jump?: GoOptions;
  /** Seconds of silence after which the server is asked whether it is there. 0: never. */
  keepAliveSeconds: number;
}

export interface Question {
  kind: "password" | "keyboard-interactive" | "passphrase";
  host: string;
  user: string;
  /** What the server calls it; of a passphrase the key's comment or fingerprint. */
  name: string;
  instruction: string;
  prompts: { text: string; echo: boolean }[];
  /** 1 for the first. Higher: the answer before was wrong. */
  attempt: number;
  /** A sentence about keys that have come to nothing before; empty if there were none. */
  note: string;
}

export interface HostKeyQuestion {
  /** `changed` and `revoked` can't be accepted by a click: see HostKeyAnswer. */
  state: "new" | "changed" | "revoked";
  host: string;
  port: number;
  type: string;
  fingerprint: string;
  /** What would be kept of it. */
  knownHostsLine: string;
  /** The keys that are known of this host. */
  known: { type: string; fingerprint: string }[];
  /** A sentence more, such as why a certificate does not count. */
  note?: string;
}

/**
 * `once` and `remember` are taken for a new host. Of a changed or revoked key
 * nothing but `refuse` is, and the user has to remove the old line first.
 */
export type HostKeyAnswer = "once" | "remember" | "refuse";

export interface WebAuthnQuestion {
  application: string;
  credentialId: string;
  challenge: Bytes;
}

export interface WebAuthnAnswer {
  authenticatorData: Bytes;
  clientDataJSON: Bytes;
  signature: Bytes;
}

export type GoStep = "version" | "keyexchange" | "authentication" | "ready";

export interface GoHooks {
  /** One answer for each prompt, or null: the user has given up. */
  ask(question: Question): Promise<string[] | null>;
  hostKey(question: HostKeyQuestion): Promise<HostKeyAnswer>;
  /** A line of known_hosts to keep. */
  remember(line: string): void;
  signWebAuthn(question: WebAuthnQuestion): Promise<WebAuthnAnswer>;
  banner(text: string): void;
  /** How far it is with one of the hosts. */
  step(name: GoStep, host: string): void;
}

export interface GoEnded {
  reason: "closed" | "auth" | "hostkey" | "network" | "protocol" | "keepalive";
  /** A sentence for a person. */
  message: string;
}

export interface GoClient {
  readonly serverVersion: string;
  /**
   * A shell, or a command. `onData` is called with one piece after the other:
   * the next one comes when its promise is done. Only the shell's own window is
   * held up by that, other channels go on.
   */
  openShell(options: GoShellOptions, onData: (bytes: Bytes, isStderr: boolean) => Promise<void> | void): Promise<GoShell>;
  openSFTP(): Promise<GoSFTP>;
  /** A TCP connection from the host on (direct-tcpip). Rejects with "network" if the host can't or won't. */
  dial(host: string, port: number): Promise<Duplex & { closed: Promise<void> }>;
  /** Milliseconds there and back. */
  ping(): Promise<number>;
  /** The network is gone, and keep-alive is not to end the client for it; or it is back. */
  away(isAway: boolean): void;
  close(): void;
  /** Never rejects. */
  readonly closed: Promise<GoEnded>;
}

export interface GoShellOptions {
  /** Such as `xterm-256color`. Without it there is no terminal. */
  term?: string;
  cols: number;
  rows: number;
  env?: Record<string, string>;
  /** In place of the user's shell. */
  command?: string;
}

export interface GoShell {
  /** Is done when the bytes are on their way. The bytes are copied at the call. */
  write(bytes: Bytes): Promise<void>;
  /** The end of the input, as Ctrl-D is not. */
  closeInput(): void;
  resize(cols: number, rows: number): void;
  /** Without SIG, such as `INT`. */
  signal(name: string): void;
  close(): void;
  /** Never rejects, and comes after the last onData is done. */
  readonly closed: Promise<GoShellEnded>;
}

export interface GoShellEnded {
  status?: number;
  /** Without SIG. */
  signal?: string;
  message?: string;
}

export interface GoSFTP {
  realPath(path: string): Promise<string>;
  list(path: string): Promise<FileEntry[]>;
  /** Of a link what it leads to. */
  stat(path: string): Promise<FileEntry>;
  mkdir(path: string): Promise<void>;
  /** Replaces nothing: rejects with "exists". */
  rename(from: string, to: string): Promise<void>;
  remove(path: string, options: { recursive: boolean }): Promise<void>;
  /** Reads from an offset on. The next piece comes when onChunk's promise is done; several are asked for at once. */
  read(
    path: string, options: { from: number },
    onChunk: (bytes: Bytes, position: number) => Promise<void>, signal?: AbortSignal,
  ): Promise<{ size: number; modified: number }>;
  /**
   * Writes `path.part`, which is renamed at the end and replaces what is there.
   * `next` gives the bytes at a position, one after the other, and null at the
   * end. With `resume` the first position is the length of what is there of
   * `path.part`, otherwise 0. What was cut stays as `path.part`.
   */
  write(
    path: string, options: { size: number; resume: boolean },
    next: (position: number) => Promise<Bytes | null>, signal?: AbortSignal,
  ): Promise<void>;
  close(): void;
  /** Never rejects: the file transfer has ended, for whatever reason. */
  readonly closed?: Promise<void>;
}

export interface FileEntry {
  name: string;
  path: string;
  size: number;
  /** Milliseconds since 1970. */
  modified: number;
  /** The permission bits, as in chmod. */
  mode: number;
  type: "file" | "directory" | "link" | "other";
  /** What a link leads to. */
  target?: string;
  owner?: string;
  group?: string;
}
