// The questions that a login asks: passwords, codes, and whether a host's key is the right one.
import type { HostKeyAnswer, HostKeyQuestion, Prompter, Question } from "../lib/index.ts";
import { copyButton } from "./copy.ts";
import { formatPlace } from "./deep_link.ts";
import { ask, confirm } from "./dialog.ts";
import { field, h } from "./dom.ts";
import type { KnownHosts } from "./known_hosts.ts";

/** More would not fit a screen, and no real login asks more. */
const MOST_PROMPTS = 20;

export interface PromptParts {
  knownHosts: KnownHosts;
  /** Takes open questions away when the session ends. */
  signal: AbortSignal;
  step(step: string, host: string): void;
  banner(text: string): void;
}

export function prompterOf(parts: PromptParts): Prompter {
  return {
    ask: (question) => askQuestion(question, parts.signal),
    hostKey: (question) => question.state === "new" ? askNewHost(question, parts.signal) : refuseHost(question, parts),
    remember: (line) => parts.knownHosts.remember(line),
    step: parts.step,
    banner: parts.banner,
  };
}

async function askQuestion(question: Question, signal: AbortSignal): Promise<string[] | null> {
  const { kind, host, user, attempt } = question;
  const prompts = question.prompts.slice(0, MOST_PROMPTS);
  if (kind === "keyboard-interactive" && !prompts.length) return [];
  const inputs = prompts.map(({ echo }) => h("input", {
    type: echo ? "text" : "password", autocomplete: kind === "password" ? "current-password" : "one-time-code", spellcheck: "false", autocapitalize: "none",
  }));
  const title = kind === "passphrase" ? "The key is locked" : kind === "password" ? "Password" : question.name || "Login";
  const who = kind === "passphrase" ? `The passphrase of ${question.name || "the key"} opens it. It stays in this page.` : `Log in to ${host} as ${user}.`;
  const answer = await ask({
    title, icon: "key", focus: inputs[0], signal,
    body: [
      attempt > 1 ? h("p", { class: "wrong", role: "alert" }, kind === "passphrase" ? "That passphrase does not open the key." : "That was not accepted. Try again.") : "",
      question.note ? h("p", { class: "wrong" }, question.note) : "",
      h("p", {}, who),
      kind === "password" ? h("input", { type: "text", autocomplete: "username", value: user, hidden: true }) : "", // for password managers
      question.instruction ? h("p", { class: "from-host" }, question.instruction) : "",
      ...prompts.map(({ text }, index) => field(text.trim().replace(/:$/, "") || "Answer", inputs[index]!)),
    ],
    buttons: [{ text: kind === "passphrase" ? "Unlock" : "Log in", value: "ok", kind: "primary", submit: true }, { text: "Cancel", value: "" }],
  });
  const values = inputs.map((input) => input.value);
  for (const input of inputs) input.value = "";
  return answer === "ok" ? values : null;
}

async function askNewHost(question: HostKeyQuestion, signal: AbortSignal): Promise<HostKeyAnswer> {
  const answer = await ask({
    title: "Is this the right host?", icon: "shield", signal, wide: true,
    body: [
      h("p", {}, "You connect to ", h("strong", {}, nameOf(question)), " for the first time from this browser. Compare its fingerprint with what whoever runs the host tells you:"),
      print(question.type, question.fingerprint),
      h("p", { class: "hint" }, "It is remembered, and you are warned if it ever changes."),
    ],
    buttons: [
      { text: "Yes, connect", value: "remember", kind: "primary", submit: true },
      { text: "Only this time", value: "once" },
      { text: "No", value: "refuse" },
    ],
  });
  return answer === "remember" || answer === "once" ? answer : "refuse";
}

// A loud stop. No button leads on: the old key is removed first, by typing the host's name, and then one connects anew.
async function refuseHost(question: HostKeyQuestion, parts: PromptParts): Promise<HostKeyAnswer> {
  const name = nameOf(question);
  const isRevoked = question.state === "revoked";
  const typed = h("input", { type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const remove = h("button", { type: "button", class: "button danger", disabled: true }, "Remove the old key");
  const outcome = h("p", { role: "status" });
  typed.addEventListener("input", () => remove.disabled = typed.value.trim().toLowerCase() !== name);
  remove.addEventListener("click", () => {
    parts.knownHosts.forget(question.host, question.port);
    remove.disabled = typed.disabled = true;
    outcome.textContent = "The old key is removed. The next time you connect you are asked about the new one.";
  });
  await ask({
    title: isRevoked ? "This host's key is revoked" : "Stop: this host's key has changed", tone: "danger", icon: "warning", wide: true, signal: parts.signal,
    body: [
      h("p", {}, isRevoked
        ? `Whoever runs ${name} has declared this key invalid. Somebody may have stolen it. You are not connected, and nothing was sent.`
        : `${name} shows another key than the one you know. Somebody may be between you and the host, to read your password and all you type. You are not connected, and nothing was sent.`),
      h("h3", {}, "It shows"), print(question.type, question.fingerprint),
      question.known.length ? h("h3", {}, "You know") : "",
      ...question.known.map(({ type, fingerprint }) => print(type, fingerprint)),
      isRevoked ? "" : h("details", {},
        h("summary", {}, "The host was set up anew, and I have checked the fingerprint"),
        field(`Type ${name} to remove the old key`, typed), remove, outcome),
    ],
    buttons: [{ text: "Don’t connect", value: "", kind: "primary", submit: true }],
  });
  return "refuse";
}

function nameOf({ host, port }: HostKeyQuestion): string {
  return formatPlace({ user: "", host: host.toLowerCase(), port });
}

function print(type: string, fingerprint: string): HTMLElement {
  return h("div", { class: "fingerprint" }, h("span", { class: "kind" }, type.replace(/^ssh-/, "")), h("code", {}, fingerprint), copyButton("the fingerprint", () => fingerprint));
}

/** Before a session's shell is thrown away. */
export function confirmClose(place: string, shares: number): Promise<boolean> {
  return confirm("Close the session?", `The shell on ${place} ends, and what runs in it.${shares ? ` So ${shares === 1 ? "does the shared port" : `do the ${shares} shared ports`}.` : ""}`, "Close", "danger");
}
