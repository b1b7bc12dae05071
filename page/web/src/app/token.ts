// The token that a server may want. It comes from the application that embeds
// this page, or a person is asked; it stays in memory, and out of every address.
import { ask } from "./dialog.ts";
import { h, field } from "./dom.ts";

/** How long the embedding application has to answer. */
const PATIENCE = 5000;

/**
 * The embedding page is told `{type: "wsproxy-token-wanted"}`, and answers
 * `{type: "wsproxy-token", token}` at once or whenever it has a new one. Both are
 * only between this window and its parent, or opener, of an allowed origin.
 */
export class TokenSource {
  private token: string | undefined;
  private waiting = new Set<(token: string | undefined) => void>();
  private giver: Window | null;
  private isSilent = false; // the giver has not answered in time, and is not waited for again

  constructor(private origins: string[], private isWanted: boolean) {
    this.giver = window.parent !== window ? window.parent : window.opener as Window | null;
    if (!this.giver || !origins.length) return;
    window.addEventListener("message", (event) => {
      if (event.source !== this.giver || !origins.includes(event.origin)) return;
      const data = event.data as { type?: unknown; token?: unknown } | null;
      if (data?.type !== "wsproxy-token" || typeof data.token !== "string") return;
      this.token = data.token;
      this.isSilent = false;
      for (const tell of this.waiting) tell(data.token);
      this.waiting.clear();
    });
    if (isWanted) void this.request();
  }

  /** Whether connecting needs one that isn't here. */
  get isMissing(): boolean {
    return this.isWanted && !this.token;
  }

  /** For every connect and reconnect: a token may have run out meanwhile. */
  readonly get = async (): Promise<string | undefined> => {
    if (this.isWanted && this.giver && this.origins.length) return await this.request() ?? this.token;
    return this.token;
  };

  /** Asks: first the embedding page, then the person. False if there is none. */
  async obtain(refused: boolean): Promise<boolean> {
    this.isWanted = true;
    const before = this.token;
    if (await this.request() && !(refused && this.token === before)) return true;
    const input = h("input", { type: "password", autocomplete: "off", required: true, pattern: "\\s*(Bearer\\s+)?[\\w.=\\-]+\\s*", title: "Letters, digits, dots, - and _" });
    const answer = await ask({
      title: "This server asks for a token", icon: "key", focus: input,
      body: [
        h("p", {}, refused ? "The token was not accepted: it may have run out. Whoever runs this server gives you another." : "Whoever runs this server gives it to you. It is not kept when the page is closed."),
        field("Token", input),
      ],
      buttons: [{ text: "Go on", value: "ok", kind: "primary", submit: true }, { text: "Cancel", value: "" }],
    });
    if (answer !== "ok") return false;
    this.token = input.value.trim().replace(/^Bearer\s+/, "");
    return true;
  }

  private request(): Promise<string | undefined> {
    if (!this.giver || !this.origins.length) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const done = (token: string | undefined): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve(token);
      };
      const timer = setTimeout(() => {
        this.isSilent = true;
        done(undefined);
      }, PATIENCE);
      if (this.isSilent) done(undefined);
      else this.waiting.add(done);
      // The message holds no secret, and the browser delivers it to that origin alone.
      for (const origin of this.origins) this.giver!.postMessage({ type: "wsproxy-token-wanted" }, origin);
    });
  }
}
