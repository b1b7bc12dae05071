// The form that a session begins with. It fills from links and profiles, and
// connects only when a person says so.
import { type Place, SSH_PORT, formatPlace, parsePlace } from "./deep_link.ts";
import { check, field, freshId, h } from "./dom.ts";
import { icon } from "./icon.ts";
import { KeyInput } from "./key_input.ts";
import type { AuthChoice, JumpPlace, Profile, Secrets } from "./profiles.ts";
import type { SecurityKey } from "../lib/index.ts";
import { canSeal } from "./secrets.ts";
import { SecurityKeyInput } from "./security_keys.ts";
import type { Store } from "./storage.ts";

/** All that a person has said of where to go and how to log in there. */
export interface Target extends Place {
  auth: AuthChoice;
  password?: string;
  key?: { privateKey: string; passphrase?: string; certificate?: string };
  securityKeys?: SecurityKey[];
  agentForward: boolean;
  jump?: JumpPlace;
}

export interface SaveWish {
  name: string;
  /** Seals the password or the key; without it they are not kept. */
  passphrase?: string;
}

const choices: [AuthChoice, string][] = [["password", "Password"], ["key", "Key"], ["securitykey", "Security key"], ["interactive", "Ask me"]];

export class ConnectForm {
  readonly element: HTMLFormElement;
  private host = h("input", { type: "text", name: "host", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "none", inputmode: "url", placeholder: "host.example.com" });
  private port = h("input", { type: "number", name: "port", min: 1, max: 65535, value: SSH_PORT, required: true, inputmode: "numeric" });
  private user = h("input", { type: "text", name: "user", required: true, autocomplete: "username", spellcheck: "false", autocapitalize: "none" });
  private password = h("input", { type: "password", name: "password", autocomplete: "current-password" });
  private keyInput = new KeyInput();
  private securityInput: SecurityKeyInput;
  private radios = new Map<AuthChoice, HTMLInputElement>();
  private panels: Record<AuthChoice, HTMLElement>;
  private forward = check("Forward my keys", {}, "Programs on the host may log in elsewhere with the key above. Only for hosts you trust.");
  private jump = h("input", { type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "none", placeholder: "user@gateway.example.com:22" });
  private save = check("Remember this place");
  private saveName = h("input", { type: "text", autocomplete: "off" });
  private savePassphrase = h("input", { type: "password", autocomplete: "new-password" });
  private saveParts: HTMLElement;
  private more: HTMLDetailsElement;

  constructor(store: Store, connect: (target: Target, save: SaveWish | undefined) => void) {
    const group = freshId("auth");
    this.securityInput = new SecurityKeyInput(store);
    const offered = choices.filter(([choice]) => choice !== "securitykey" || SecurityKeyInput.isOffered());
    const tabs = offered.map(([value, text]) => {
      const input = h("input", { type: "radio", name: group, value, id: `${group}-${value}`, onchange: () => this.showAuth() });
      this.radios.set(value, input);
      return h("div", {}, input, h("label", { for: input.id }, text));
    });
    this.panels = {
      password: field("Password", this.password, "Leave it empty to be asked when you connect."),
      key: this.keyInput.element,
      interactive: h("p", { class: "hint" }, "The host asks what it wants to know, such as a one-time code. Each question appears when it is asked."),
      securitykey: this.securityInput.element,
    };
    this.saveParts = h("div", { class: "save-parts", hidden: true },
      field("Name", this.saveName),
      canSeal() ? field("Passphrase to keep the password or key too", this.savePassphrase, "Encrypts them in this browser. Without a passphrase they are not kept.") : null);
    this.save.input.addEventListener("change", () => {
      this.saveParts.hidden = !this.save.input.checked;
      this.saveName.value ||= formatPlace(this.place);
    });
    this.more = h("details", { class: "more" }, h("summary", {}, "More"),
      field("Jump host", this.jump, "A host that is logged in to first, and leads on to this one. It asks for what it needs."), this.forward.element);
    this.host.addEventListener("change", () => this.splitHost());
    this.element = h("form", {
      class: "connect", "aria-label": "Connect", novalidate: true,
      onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        this.splitHost();
        const target = this.checked();
        if (!target) return;
        const save = this.save.input.checked ? { name: this.saveName.value.trim() || formatPlace(target), passphrase: this.savePassphrase.value || undefined } : undefined;
        connect(target, save);
        this.forgetSecrets();
      },
    },
      h("h1", {}, "Open a terminal"),
      h("div", { class: "row place" }, field("Host", this.host), h("div", { class: "port" }, field("Port", this.port))),
      field("User", this.user),
      h("fieldset", { class: "auth" }, h("legend", {}, "Log in with"), h("div", { class: "segments" }, ...tabs), ...Object.values(this.panels)),
      this.more, this.save.element, this.saveParts,
      h("button", { type: "submit", class: "button primary connect-button" }, "Connect", icon("right")));
    this.radios.get("password")!.checked = true;
    this.showAuth();
  }

  focus(): void {
    (!this.host.value ? this.host : !this.user.value ? this.user : this.auth === "password" ? this.password : this.host).focus();
  }

  /** Fills in a place from a link, which may be anybody's: what was typed for another place does not go there. Nothing is connected. */
  fillLink(place: Place): void {
    this.forgetSecrets();
    this.jump.value = "";
    this.forward.input.checked = false;
    this.fill(place, place.password ?? "");
  }

  private fill(place: Partial<Place>, password?: string): void {
    if (place.host !== undefined) this.host.value = place.host;
    if (place.port !== undefined) this.port.value = String(place.port);
    if (place.user !== undefined) this.user.value = place.user;
    if (password !== undefined) this.password.value = password;
  }

  /** As it was before it was connected with, but for the password: it may have been the wrong one. */
  refill(target: Target): void {
    this.fill(target, "");
    this.radios.get(target.auth)!.checked = true;
    this.keyInput.value = target.key;
    this.forward.input.checked = target.agentForward;
    this.jump.value = target.jump ? formatPlace(target.jump) : "";
    this.showAuth();
  }

  fillProfile(profile: Profile, secrets: Secrets): void {
    this.fill(profile, secrets.password ?? "");
    const radio = this.radios.get(profile.auth);
    if (radio) radio.checked = true;
    this.keyInput.value = secrets.privateKey ? { privateKey: secrets.privateKey, passphrase: secrets.keyPassphrase, certificate: secrets.certificate } : undefined;
    this.forward.input.checked = profile.agentForward === true;
    this.jump.value = profile.jump ? formatPlace(profile.jump) : "";
    this.more.open = this.forward.input.checked || this.jump.value !== "";
    this.showAuth();
    this.focus();
  }

  private get auth(): AuthChoice {
    return [...this.radios].find(([, radio]) => radio.checked)?.[0] ?? "password";
  }

  private get place(): Place {
    return { host: this.host.value.trim(), port: Number(this.port.value) || SSH_PORT, user: this.user.value.trim() };
  }

  private showAuth(): void {
    for (const [auth, panel] of Object.entries(this.panels)) panel.hidden = auth !== this.auth;
  }

  // `user@host:port` is what people have at hand.
  private splitHost(): void {
    const text = this.host.value.trim();
    if (!/[@]|^ssh:|\]?:\d+$/.test(text)) return;
    const place = parsePlace(text);
    if (!place || place.host === text) return;
    this.fill({ host: place.host, ...(place.user && { user: place.user }), ...(place.port !== SSH_PORT && { port: place.port }) });
  }

  private checked(): Target | undefined {
    const { auth, place } = this;
    const parsed = parsePlace(place.host);
    if (!parsed || parsed.host !== place.host) return complain(this.host, place.host ? "This is not the name or address of a host." : "Where to? A name or an address.");
    if (!this.port.checkValidity()) return complain(this.port, "A port is a number from 1 to 65535.");
    if (!place.user) return complain(this.user, "As which user?");
    const jump = this.jump.value.trim() ? parsePlace(this.jump.value) : undefined;
    if (this.jump.value.trim() && !jump?.host) {
      this.more.open = true;
      return complain(this.jump, "Write the jump host as user@host:port.");
    }
    const key = this.keyInput.value;
    if (auth === "key" && !key) {
      this.keyInput.complain("Drop, paste or make a key first.");
      return undefined;
    }
    const securityKeys = auth === "securitykey" ? this.securityInput.value : undefined;
    if (securityKeys?.length === 0) {
      this.securityInput.complain("Make a key first, and add its line to ~/.ssh/authorized_keys on the host.");
      return undefined;
    }
    return {
      ...place, auth, securityKeys, agentForward: this.forward.input.checked,
      password: auth === "password" && this.password.value ? this.password.value : undefined,
      key: auth === "key" ? key : undefined,
      jump: jump && { ...jump, user: jump.user || place.user },
    };
  }

  // What was typed goes with the session; the form, which stays, holds none of it.
  private forgetSecrets(): void {
    this.password.value = this.savePassphrase.value = "";
    this.keyInput.value = undefined;
    this.save.input.checked = false;
    this.saveParts.hidden = true;
  }
}

function complain(input: HTMLInputElement, message: string): undefined {
  const id = freshId("complaint");
  const line = h("p", { class: "wrong", id, role: "alert" }, message);
  input.parentElement!.append(line);
  input.setAttribute("aria-invalid", "true");
  const before = input.getAttribute("aria-describedby");
  input.setAttribute("aria-describedby", id);
  input.focus();
  input.addEventListener("input", () => {
    line.remove();
    input.removeAttribute("aria-invalid");
    if (before) input.setAttribute("aria-describedby", before);
    else input.removeAttribute("aria-describedby");
  }, { once: true });
  return undefined;
}
