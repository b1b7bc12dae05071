/** The worker's beginning: a SharedWorker that serves all pages, or the Worker of one. */
import { Host } from "./host.ts";
import { startGo } from "./wasm.ts";
import type { SSHError } from "../lib/types.ts";
import type { Port } from "./wire.ts";

/** File name of the SSH client, beside this script; the build knows it. */
declare const WASM_FILE: string;

// What has failed is not to be met again by a page that is loaded anew.
const failed = (error: SSHError) => {
  host.fail(error);
  api.then(({ pending }) => { for (const reject of pending ?? []) reject(error); }, () => {});
  setTimeout(() => globalThis.close(), 100); // what was told is on its way
};
const api = startGo(new URL(WASM_FILE, globalThis.location.href), failed);
const host: Host = new Host(api);
api.catch(failed);

if ("onconnect" in globalThis) {
  globalThis.addEventListener("connect", (event) => host.serve((event as MessageEvent).ports[0]!));
} else {
  host.serve(globalThis as unknown as Port);
}
