// A private key for the login: dropped, chosen, pasted, or made in the page.
import { type KeyDescription, describeKey, generateKey } from "../lib/index.ts";
import { copyButton } from "./copy.ts";
import { field, h } from "./dom.ts";
import { icon } from "./icon.ts";
import type { PrivateKey } from "../lib/index.ts";

/** Larger files are no keys. */
const LARGEST = 64 << 10;

export class KeyInput {
  readonly element: HTMLElement;
  private text = h("textarea", { rows: 4, spellcheck: "false", autocomplete: "off", autocapitalize: "none", placeholder: "-----BEGIN OPENSSH PRIVATE KEY-----" });
  private passphrase = h("input", { type: "password", autocomplete: "off" });
  private passphraseField = field("Passphrase of the key", this.passphrase, "Leave it empty to be asked when you connect.");
  private outcome = h("div", { class: "key-outcome", "aria-live": "polite" });
  private certificate = "";

  constructor() {
    const file = h("input", {
      type: "file", multiple: true, class: "visually-hidden", tabindex: -1, "aria-hidden": "true",
      onchange: () => {
        for (const chosen of file.files ?? []) void this.read(chosen);
        file.value = "";
      },
    });
    const comment = `web@${new Date().toISOString().slice(0, 10)}`;
    this.element = h("div", {
      class: "key-input",
      ondragover: (event: DragEvent) => {
        event.preventDefault();
        this.element.classList.add("dropping");
      },
      ondragleave: () => this.element.classList.remove("dropping"),
      ondrop: (event: DragEvent) => {
        event.preventDefault();
        this.element.classList.remove("dropping");
        for (const dropped of event.dataTransfer?.files ?? []) void this.read(dropped);
      },
    },
      field("Private key", this.text, "Drop the file here or paste it: OpenSSH or PEM. It stays in this page. A certificate (…-cert.pub) can be dropped too."),
      h("div", { class: "row" },
        h("button", { type: "button", class: "button", onclick: () => file.click() }, icon("files"), "Choose a file"),
        h("button", { type: "button", class: "button", onclick: () => void this.generate(comment) }, icon("key"), "Make a new key"), file),
      this.outcome, this.passphraseField);
    this.passphraseField.hidden = true;
    this.text.addEventListener("input", () => void this.describe());
  }

  /** The key as the login takes it; undefined if there is none. */
  get value(): PrivateKey | undefined {
    const privateKey = this.text.value.trim();
    return privateKey ? { privateKey: `${privateKey}\n`, passphrase: this.passphrase.value || undefined, certificate: this.certificate || undefined } : undefined;
  }

  set value(key: PrivateKey | undefined) {
    this.text.value = key?.privateKey ?? "";
    this.passphrase.value = key?.passphrase ?? "";
    this.certificate = key?.certificate ?? "";
    if (key) void this.describe();
    else this.outcome.replaceChildren();
  }

  /** Says what is missing. */
  complain(message: string): void {
    this.outcome.replaceChildren(h("p", { class: "wrong" }, message));
    this.text.focus();
  }

  private async read(file: File): Promise<void> {
    if (file.size > LARGEST) return this.complain(`${file.name} is too large to be a key.`);
    const text = await file.text();
    if (/^\S+-cert-v01@openssh\.com\s/.test(text)) {
      this.certificate = text.trim();
      return this.describe();
    }
    if (/^(ssh|ecdsa|sk)-\S+\s/.test(text)) return this.complain(`${file.name} is the public half. The private one has the same name without “.pub”.`);
    this.text.value = text;
    return this.describe();
  }

  private async generate(comment: string): Promise<void> {
    try {
      const { privateKey } = await generateKey({ comment });
      this.text.value = privateKey;
      await this.describe(true);
    } catch (error) {
      this.complain((error as Error).message);
    }
  }

  private async describe(isNew = false): Promise<void> {
    const text = this.text.value.trim();
    if (!text) {
      this.passphraseField.hidden = true;
      return this.outcome.replaceChildren();
    }
    let key: KeyDescription;
    try {
      key = await describeKey(`${text}\n`, this.passphrase.value || undefined);
    } catch (error) {
      if (this.text.value.trim() === text) this.outcome.replaceChildren(h("p", { class: "wrong" }, (error as Error).message));
      return;
    }
    if (this.text.value.trim() !== text) return; // it was changed meanwhile
    this.passphraseField.hidden = !key.encrypted;
    const parts: HTMLElement[] = [h("p", { class: "fingerprint" }, h("span", { class: "kind" }, key.type.replace(/^ssh-/, "")), h("code", {}, key.fingerprint || "locked by a passphrase"))];
    if (isNew) {
      parts.push(h("p", { class: "hint" }, "Add this line to ~/.ssh/authorized_keys on the host. Keep the private key above if you want to use it again: the page forgets it."));
    }
    if (key.publicKey) parts.push(h("div", { class: "copy-line" }, h("code", {}, key.publicKey), copyButton("the public key", () => key.publicKey)));
    if (this.certificate) parts.push(await this.describeCertificate());
    this.outcome.replaceChildren(...parts);
  }

  private async describeCertificate(): Promise<HTMLElement> {
    try {
      const { certificate } = await describeKey(this.certificate);
      const until = certificate && Number.isFinite(certificate.validTo) ? `, valid until ${new Date(certificate.validTo).toLocaleString()}` : "";
      return h("p", { class: "hint" }, `With the certificate “${certificate?.keyId ?? ""}” for ${certificate?.principals.join(", ") || "everybody"}${until}.`);
    } catch (error) {
      return h("p", { class: "wrong" }, (error as Error).message);
    }
  }
}
