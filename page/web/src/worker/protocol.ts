/** What page and worker call on each other, by Wires. Each object has a port of its own. */
import type {
  Bytes, FileEntry, GeneratedKey, HostKeyAnswer, HostKeyQuestion, KeyDescription, Question, WebAuthnAnswer, WebAuthnQuestion,
} from "./bridge.ts";
import type {
  Ended, HostOptions, SessionInfo, SessionState, ShareOptions, ShareView, ShellEnded, ShellOptions, Step,
} from "../lib/types.ts";

/** SSHOptions as they can be sent. */
export interface ConnectOptions extends HostOptions {
  /** Absolute. */
  url: string;
  knownHosts: string;
  keepAliveSeconds: number;
  label: string;
}

/** What the worker has for each page. */
export interface WorkerMethods {
  /**
   * The page holds this lock as long as it is there; empty if it can't. `outlives`: the browser keeps the worker for
   * some seconds when its last page has gone.
   */
  hello(lock: string, outlives: boolean): void;
  /** Resolves when the user is logged in. The port is the session's. */
  connect(options: ConnectOptions, port: MessagePort): SessionInfo;
  list(): SessionInfo[];
  /** Takes a session over that no page has any more. */
  adopt(id: string, port: MessagePort): AdoptedSession;
  generateKey(options: { comment: string; passphrase?: string }): GeneratedKey;
  describeKey(text: string, passphrase?: string): KeyDescription;
  fingerprint(publicKey: string): string;
  /** The page is seen, or goes on, again: what was open may be gone. */
  woke(): void;
  /** The page goes. */
  bye(): void;
}

export interface AdoptedSession {
  info: SessionInfo;
  shells: ShellInfo[];
  shares: ShareView[];
  /** How long it has been detached by now, in milliseconds; 0 if it is not. */
  away: number;
}

export interface ShellInfo {
  id: string;
  options: ShellOptions;
}

/** What the worker has for the page that owns a session. */
export interface SessionMethods {
  openShell(options: ShellOptions, port: MessagePort): ShellInfo;
  /** Begins with the latest output. */
  attachShell(id: string, port: MessagePort): void;
  openSFTP(port: MessagePort): void;
  share(options: ShareOptions): ShareView;
  unshare(id: string): void;
  /** Milliseconds to the SSH host and back. */
  ping(): number;
  close(): void;
}

/** What the page has for the worker of a session. */
export interface SessionPageMethods {
  token(): string | null;
  ask(question: Question): string[] | null;
  hostKey(question: HostKeyQuestion): HostKeyAnswer;
  signWebAuthn(question: WebAuthnQuestion): WebAuthnAnswer;
  remember(line: string): void;
  banner(text: string): void;
  step(step: Step, host: string): void;
  /** `away` counts the milliseconds of the loss before. */
  state(state: SessionState, away: number): void;
  ended(ended: Ended): void;
  /** A share looks different. */
  shared(view: ShareView): void;
}

export interface ShellMethods {
  write(bytes: Bytes): void;
  closeInput(): void;
  resize(cols: number, rows: number): void;
  signal(name: string): void;
  close(): void;
  /** So many bytes of data() were handled. */
  ack(length: number): void;
}

export interface ShellPageMethods {
  data(bytes: Bytes, isStderr: boolean, isReplay: boolean): void;
  ended(ended: ShellEnded): void;
}

export interface SFTPMethods {
  realPath(path: string): string;
  list(path: string): FileEntry[];
  stat(path: string): FileEntry;
  mkdir(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string, recursive: boolean): void;
  /** Resolves when everything was sent over the port. */
  read(path: string, from: number, port: MessagePort): { size: number; modified: number };
  /** A Blob is read by the worker itself; a stream's bytes come over the port. Resolves when the file is in its place. */
  write(path: string, source: Blob | null, options: { size: number; resume: boolean }, port: MessagePort): void;
}

export interface DownloadMethods {
  ack(length: number): void;
}

export interface DownloadPageMethods {
  data(bytes: Bytes): void;
  /** Of the whole file, as it was when it was opened. */
  size(size: number): void;
}

export interface UploadPageMethods {
  /** The next bytes of the stream, from a position on; null at its end. */
  next(position: number): Bytes | null;
  progress(position: number): void;
}
