import { Emitter } from "./emitter.ts";
import type { SharedRequest, ShareCounts, ShareState, ShareView } from "./types.ts";

/** A port of the SSH host's world with a public address. Its connections go through the worker and the session. */
export class PortShare extends Emitter<{ change: ShareView }> {
  #view: ShareView;
  #close: (id: string) => Promise<void>;

  /** @internal A page gets one by SSHSession.sharePort() and adopt(). */
  constructor(view: ShareView, close: (id: string) => Promise<void>) {
    super();
    this.#view = view;
    this.#close = close;
  }

  get id(): string { return this.#view.id; }
  get host(): string { return this.#view.host; }
  get port(): number { return this.#view.port; }
  get url(): string { return this.#view.url; }
  get rawHost(): string { return this.#view.rawHost; }
  /** 0 if there is none. */
  get rawPort(): number { return this.#view.rawPort; }
  get state(): ShareState { return this.#view.state; }
  get counts(): ShareCounts { return this.#view.counts; }
  /** The latest 100, the newest first. */
  get requests(): SharedRequest[] { return this.#view.requests; }
  /** Why it is lost, or the latest connection failed. */
  get message(): string { return this.#view.message; }
  /** All of that at once. */
  get view(): ShareView { return this.#view; }

  /** Resolves when the address leads nowhere any more. */
  async close(): Promise<void> {
    if (this.#view.state === "closed") return;
    await this.#close(this.id);
    this.lost("");
  }

  /** @internal */
  update(view: ShareView): void {
    if (view.id !== this.#view.id || this.#view.state === "closed") return;
    this.#view = view;
    this.emit("change", view);
  }

  /** @internal */
  lost(message: string): void {
    this.update({ ...this.#view, state: "closed", message, counts: { ...this.#view.counts, open: 0 } });
  }
}
