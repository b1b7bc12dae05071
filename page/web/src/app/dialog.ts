// Dialogs: the browser's own, which keeps the focus inside and ends with Escape.
// They come one after the other, so that two sessions' questions don't mix.
import { freshId, h } from "./dom.ts";
import { type IconName, icon } from "./icon.ts";

export interface DialogParts {
  title: string;
  tone?: "plain" | "warning" | "danger";
  icon?: IconName;
  body: (Node | string)[];
  /** Buttons, the first at the right; `submit` is what Enter does. */
  buttons: { text: string; value: string; kind?: "primary" | "danger" | "plain"; submit?: boolean }[];
  /** Has the focus at first; otherwise the first field, or else the first of `buttons`. */
  focus?: HTMLElement;
  wide?: boolean;
  /** Takes the dialog away unanswered. */
  signal?: AbortSignal;
}

let turn: Promise<unknown> = Promise.resolve();

/** Shows a dialog when those before it are done. Resolves with the button's value, or "" if it was closed. */
export function ask(parts: DialogParts): Promise<string> {
  const answer = turn.then(() => show(parts));
  turn = answer.catch(() => undefined);
  return answer;
}

function show(parts: DialogParts): Promise<string> {
  if (parts.signal?.aborted) return Promise.resolve("");
  const before = document.activeElement;
  const title = freshId("title");
  return new Promise((resolve) => {
    const submit = parts.buttons.find((button) => button.submit);
    const form = h("form", {
      onsubmit: (event: SubmitEvent) => {
        event.preventDefault();
        if (!submit) return;
        end(submit.value);
      },
    },
      h("header", {}, parts.icon ? h("span", { class: "dialog-icon" }, icon(parts.icon)) : null, h("h2", { id: title }, parts.title)),
      h("div", { class: "dialog-body" }, ...parts.body),
      parts.buttons.length ? h("footer", {}, ...parts.buttons.map((button) => h("button", {
        type: button.submit ? "submit" : "button", class: `button ${button.kind ?? "plain"}`,
        onclick: button.submit ? undefined : () => end(button.value),
      }, button.text))) : null);
    const dialog = h("dialog", { class: `dialog ${parts.tone ?? "plain"}${parts.wide ? " wide" : ""}`, "aria-labelledby": title, role: parts.tone === "danger" ? "alertdialog" : null }, form);
    // The event of closing comes with a task of its own, before which a key may
    // come: what the answer leads to, such as a paste, is to be ahead of it.
    let isOpen = true;
    const end = (value: string): void => {
      if (!isOpen) return;
      isOpen = false;
      parts.signal?.removeEventListener("abort", abort);
      dialog.close();
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) {
        before.blur(); // the browser has given it the focus, but not the caret: see TerminalView.focus
        before.focus();
      }
      resolve(value);
    };
    const abort = (): void => end("");
    dialog.addEventListener("close", abort); // by Escape
    parts.signal?.addEventListener("abort", abort);
    document.body.append(dialog);
    dialog.showModal();
    const field = parts.tone === "danger" ? null : form.querySelector<HTMLElement>("input, textarea, select");
    (parts.focus ?? field ?? form.querySelector<HTMLElement>("footer button"))?.focus();
  });
}

/** A question with yes and no. */
export async function confirm(title: string, text: string, yes: string, tone: "plain" | "danger" = "plain"): Promise<boolean> {
  const answer = await ask({
    title, tone, icon: tone === "danger" ? "warning" : undefined, body: [h("p", {}, text)],
    buttons: [{ text: yes, value: "yes", kind: tone === "danger" ? "danger" : "primary", submit: true }, { text: "Cancel", value: "" }],
  });
  return answer === "yes";
}

/** A question for a line of text; undefined if it was not answered. */
export async function askText(title: string, label: string, value = "", button = "OK"): Promise<string | undefined> {
  const input = h("input", { type: "text", value, autocomplete: "off", spellcheck: "false", required: true, id: freshId("field") });
  const answer = await ask({
    title, body: [h("div", { class: "field" }, h("label", { for: input.id }, label), input)], focus: input,
    buttons: [{ text: button, value: "ok", kind: "primary", submit: true }, { text: "Cancel", value: "" }],
  });
  return answer === "ok" ? input.value.trim() : undefined;
}
