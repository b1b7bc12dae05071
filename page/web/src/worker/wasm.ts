import "go:wasm_exec";
import type { GoAPI } from "./bridge.ts";
import { SSHError } from "../lib/types.ts";

/** What wasm_exec.js defines. */
declare class Go {
  importObject: WebAssembly.Imports;
  /** Resolves when the program has ended. */
  run(instance: WebAssembly.Instance): Promise<void>;
}

declare global {
  // eslint-disable-next-line no-var
  var goReady: ((api: GoAPI) => void) | undefined;
}

/**
 * Starts the SSH client. Compiling goes along with loading.
 *
 * @param ended called when it has ended later on, which it never should
 */
export async function startGo(url: URL, ended: (error: SSHError) => void): Promise<GoAPI> {
  let instance: WebAssembly.Instance;
  const go = new Go();
  try {
    ({ instance } = await WebAssembly.instantiateStreaming(fetch(url), go.importObject));
  } catch (cause) {
    throw new SSHError("The SSH client can't be loaded. Reload the page, and look whether the network is there.", "worker", { cause });
  }
  return new Promise((resolve, reject) => {
    globalThis.goReady = resolve;
    const over = () => {
      const error = new SSHError("The SSH client has ended unexpectedly. Reload the page.", "worker");
      reject(error);
      ended(error);
    };
    go.run(instance).then(over, over);
  });
}
