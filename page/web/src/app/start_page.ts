// What a new tab shows: the form, the places that were kept, and sessions that
// still run from before a reload.
import type { SessionInfo } from "../lib/index.ts";
import { ConnectForm, type SaveWish, type Target } from "./connect_form.ts";
import { formatPlace } from "./deep_link.ts";
import { ask, confirm } from "./dialog.ts";
import { field, freshId, h } from "./dom.ts";
import { icon, mark } from "./icon.ts";
import { say } from "./notice.ts";
import type { Profile, Profiles, Secrets } from "./profiles.ts";
import type { Store } from "./storage.ts";

export class StartPage {
  readonly element: HTMLElement;
  readonly form: ConnectForm;
  private list = h("ul", { class: "places" });
  private aside: HTMLElement;
  private running = h("div", { class: "running" });

  constructor(store: Store, private profiles: Profiles, private takeUp: (session: SessionInfo) => void, connect: (target: Target) => void) {
    this.form = new ConnectForm(store, (target, save) => {
      if (save) void this.save(target, save);
      connect(target);
    });
    const title = freshId("title");
    this.aside = h("section", { class: "card aside", "aria-labelledby": title }, h("h2", { id: title }, "Your places"), this.list);
    this.element = h("div", { class: "start" },
      h("div", { class: "welcome" }, mark(), h("div", {}, h("p", { class: "name" }, "wsproxy"), h("p", { class: "motto" }, "Your shell, in this page. It survives a lost network."))),
      this.running,
      h("div", { class: "columns" }, h("div", { class: "card" }, this.form.element), this.aside));
    this.refresh();
  }

  /** Reads the places anew. */
  refresh(): void {
    const profiles = this.profiles.list();
    this.aside.hidden = profiles.length === 0;
    this.list.replaceChildren(...profiles.map((profile) => h("li", {},
      h("button", { type: "button", class: "place-button", onclick: () => void this.choose(profile) },
        h("span", { class: "place-name" }, profile.name, profile.sealed ? icon("key") : null),
        h("span", { class: "place-where" }, formatPlace(profile), profile.jump ? ` by ${profile.jump.host}` : "")),
      h("button", { type: "button", class: "button icon-only", "aria-label": `Forget ${profile.name}`, title: "Forget", onclick: () => void this.forget(profile) }, icon("trash")))));
  }

  /** Shows sessions that can be taken up. */
  showRunning(sessions: SessionInfo[]): void {
    this.running.replaceChildren(...sessions.map((session) => h("div", { class: "card running-session" },
      h("p", {}, h("strong", {}, formatPlace(session)), ` still runs, since ${new Date(session.startedAt).toLocaleTimeString()}.`),
      h("button", { type: "button", class: "button primary", onclick: () => this.takeUp(session) }, "Take it up"))));
  }

  private async choose(profile: Profile): Promise<void> {
    let secrets: Secrets = {};
    for (let wrong = false; profile.sealed; wrong = true) {
      const input = h("input", { type: "password", autocomplete: "off", required: true });
      const answer = await ask({
        title: `Unlock ${profile.name}`, icon: "key", focus: input,
        body: [wrong ? h("p", { class: "wrong", role: "alert" }, "That passphrase does not open it.") : "", field("Passphrase", input)],
        buttons: [{ text: "Unlock", value: "ok", kind: "primary", submit: true }, { text: "Without", value: "without" }, { text: "Cancel", value: "" }],
      });
      if (!answer) return;
      if (answer === "without") break;
      try {
        secrets = await this.profiles.secrets(profile, input.value);
        break;
      } catch {
        // Asked again.
      }
    }
    this.form.fillProfile(profile, secrets);
  }

  private async forget(profile: Profile): Promise<void> {
    if (!await confirm(`Forget ${profile.name}?`, "It is removed from this browser.", "Forget")) return;
    this.profiles.remove(profile.id);
    this.refresh();
  }

  private async save(target: Target, { name, passphrase }: SaveWish): Promise<void> {
    const { host, port, user, auth, agentForward, jump } = target;
    const same = this.profiles.list().find((profile) => profile.name === name);
    const profile: Profile = { id: same?.id ?? crypto.getRandomValues(new Uint32Array(2)).join("-"), name, host, port, user, auth, agentForward, jump };
    try {
      if (passphrase) {
        await this.profiles.saveWithSecrets(profile, {
          password: target.password, privateKey: target.key?.privateKey, keyPassphrase: target.key?.passphrase, certificate: target.key?.certificate,
        }, passphrase);
      } else this.profiles.save(profile);
    } catch (error) {
      say(`The place could not be kept: ${(error as Error).message}`);
    }
    this.refresh();
  }
}
