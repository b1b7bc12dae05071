// Keys inside security keys: what the page must know of them to use them again.
// None of it is secret, the private half never leaves the key.
import { type SecurityKey, createSecurityKey, hasWebAuthn } from "../lib/index.ts";
import { copyButton } from "./copy.ts";
import { h } from "./dom.ts";
import { icon } from "./icon.ts";
import { type Store, readJSON } from "./storage.ts";

const KEY = "security_keys";

export function securityKeys(store: Store): SecurityKey[] {
  const found = readJSON(store, KEY);
  return Array.isArray(found) ? found.filter((key) => typeof key?.publicKey === "string" && typeof key.application === "string" && typeof key.credentialId === "string") : [];
}

/** The part of the form that lists and makes them. */
export class SecurityKeyInput {
  readonly element = h("div", { class: "security-keys" });
  private outcome = h("p", { class: "wrong", role: "status", hidden: true });

  constructor(private store: Store) {
    this.draw();
  }

  static isOffered(): boolean {
    return hasWebAuthn();
  }

  /** All of this page's host: a security key is asked for one after the other. */
  get value(): SecurityKey[] {
    return securityKeys(this.store).filter(({ application }) => application === location.hostname);
  }

  complain(message: string): void {
    this.outcome.textContent = message;
    this.outcome.hidden = false;
  }

  private draw(): void {
    const keys = this.value;
    this.outcome.hidden = true;
    this.element.replaceChildren(
      h("p", { class: "hint" }, keys.length
        ? "Touch your security key when you connect. The host must have one of these lines in ~/.ssh/authorized_keys, and allow webauthn-sk-ecdsa-sha2-nistp256@openssh.com in PubkeyAcceptedAlgorithms."
        : "A security key, or this device’s own, holds the key and never gives it away."),
      ...keys.map((key) => h("div", { class: "copy-line" }, h("code", {}, key.publicKey), copyButton("the public key", () => key.publicKey),
        h("button", { type: "button", class: "button icon-only", "aria-label": "Forget this key", title: "Forget", onclick: () => this.keep(securityKeys(this.store).filter(({ credentialId }) => credentialId !== key.credentialId)) }, icon("trash")))),
      h("button", { type: "button", class: "button", onclick: () => void this.make() }, icon("key"), "Make a key in a security key"), this.outcome);
  }

  private async make(): Promise<void> {
    try {
      const key = await createSecurityKey({ name: `web@${location.hostname}` });
      this.keep([...securityKeys(this.store), key]);
    } catch (error) {
      this.complain((error as Error).message);
    }
  }

  private keep(keys: SecurityKey[]): void {
    this.store.set(KEY, JSON.stringify(keys));
    this.draw();
  }
}
