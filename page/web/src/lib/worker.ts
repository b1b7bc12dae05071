/** The page's way to the worker, in which SSH runs. */
import { SSHError, type GeneratedKey, type KeyDescription, type Lifetime } from "./types.ts";
import type { WorkerMethods } from "../worker/protocol.ts";
import { Wire, type Port } from "../worker/wire.ts";

/** File name of the worker's script, beside the one that this is in; the build knows it. */
declare const WORKER_FILE: string | undefined;

let script: string | URL | undefined = typeof WORKER_FILE === "string" ? new URL(WORKER_FILE, import.meta.url) : undefined;
let prefersShared = true;
let connection: Promise<Wire<WorkerMethods>> | undefined;
let isShared = false;
let lastsLonger = false; // than the last page, by some seconds

/**
 * For applications that are built otherwise: says where the worker's script is,
 * beside which the SSH client lies (`ssh.*.wasm`). It has to be of the page's
 * origin. To be called before anything else.
 *
 * @param options shared: false for a worker that this page has for itself
 */
export function useWorker(url: string | URL, options: { shared?: boolean } = {}): void {
  script = url;
  prefersShared = options.shared ?? true;
}

/** Loads the worker and the SSH client, so that connecting does not wait for them. It may be called at any time. */
export function prepare(): void {
  theWorker().catch(() => {}); // who needs it is told
}

/** What this browser lets live over a reload. Known after prepare(). */
export function lifetime(): Lifetime {
  prepare();
  return { survivesReload: isShared, needsOtherPage: isShared && !lastsLonger };
}

/** A new ed25519 key in OpenSSH's format, made in this browser. */
export async function generateKey(options: { comment: string; passphrase?: string }): Promise<GeneratedKey> {
  return (await theWorker()).call("generateKey", options);
}

/** What a private key, a public one or a certificate is. */
export async function describeKey(text: string, passphrase?: string): Promise<KeyDescription> {
  return (await theWorker()).call("describeKey", text, passphrase);
}

/** `SHA256:...` of a line of authorized_keys. */
export async function fingerprint(publicKey: string): Promise<string> {
  return (await theWorker()).call("fingerprint", publicKey);
}

/** @internal Sessions of this page that are open. */
export const open = new Set<object>();

/** @internal */
export function theWorker(): Promise<Wire<WorkerMethods>> {
  if (!connection) {
    const mine = connection = start();
    const forget = () => { if (connection === mine) connection = undefined; };
    mine.then((wire) => wire.ended.then(forget), forget);
  }
  return connection;
}

async function start(): Promise<Wire<WorkerMethods>> {
  if (script === undefined) throw new SSHError("Nobody has said where the worker is: call useWorker() first.", "worker");
  const { port, failed } = prefersShared && typeof SharedWorker === "function" ? shared(script) : own(script);
  const wire = new Wire<WorkerMethods>(port, {});
  failed.then((error) => wire.end(error));
  const unwatch = watch(wire);
  void wire.ended.then(unwatch);
  wire.tell("hello", await holdLock(), isShared && lastsLonger);
  return wire;
}

function shared(url: string | URL): { port: Port; failed: Promise<SSHError> } {
  isShared = true;
  // A browser that knows the option looks at it.
  const options = { name: "wsproxy", get extendedLifetime() {
    lastsLonger = true;
    return true;
  } };
  const worker = new SharedWorker(url, options);
  return { port: worker.port as Port, failed: failure(worker) };
}

function own(url: string | URL): { port: Port; failed: Promise<SSHError> } {
  isShared = false;
  const worker = new Worker(url, { name: "wsproxy" });
  const port: Port = {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    addEventListener: (type, listener) => worker.addEventListener(type, listener as EventListener),
    removeEventListener: (type, listener) => worker.removeEventListener(type, listener as EventListener),
    close: () => worker.terminate(),
  };
  return { port, failed: failure(worker) };
}

function failure(worker: Worker | SharedWorker): Promise<SSHError> {
  return new Promise((resolve) => {
    worker.addEventListener("error", (event) => {
      const words = (event as ErrorEvent).message;
      if (words) return console.error("wsproxy:", words); // of one thing in it; the rest goes on
      resolve(new SSHError("The worker can't be loaded. Reload the page, and look whether the network is there.", "worker"));
    });
  });
}

/** Holds a lock as long as the page lives, by which the worker knows. Browsers have locks on secure pages only. */
async function holdLock(): Promise<string> {
  if (!navigator.locks) return "";
  const name = `wsproxy-page-${crypto.randomUUID()}`;
  return new Promise((resolve) => {
    navigator.locks.request(name, () => {
      resolve(name);
      return new Promise(() => {});
    }).catch(() => resolve(""));
  });
}

/** Milliseconds that a page which goes gives its worker, at most. What the page does meanwhile nobody sees. */
const lastWords = 250;

/**
 * The page goes. A worker that ends with it needs a moment to end its sessions, which the server would keep
 * otherwise until RESUME_TIMEOUT; and it has only as long as this page takes.
 */
function leave(wire: Wire<WorkerMethods>): void {
  wire.tell("bye");
  if (open.size === 0 || isShared && lastsLonger) return;
  const until = performance.now() + lastWords;
  while (performance.now() < until);
}

/** Tells the worker what only a page gets to know. */
function watch(wire: Wire<WorkerMethods>): () => void {
  const woke = () => wire.tell("woke");
  const events: [EventTarget, string, (event: Event) => void][] = [
    [globalThis, "pagehide", (event) => { if (!(event as PageTransitionEvent).persisted) leave(wire); }],
    [globalThis, "pageshow", (event) => { if ((event as PageTransitionEvent).persisted) woke(); }],
    [globalThis, "online", woke],
    [document, "visibilitychange", () => { if (document.visibilityState === "visible") woke(); }],
    [document, "resume", woke],
  ];
  for (const [target, type, listener] of events) target.addEventListener(type, listener);
  return () => { for (const [target, type, listener] of events) target.removeEventListener(type, listener); };
}
