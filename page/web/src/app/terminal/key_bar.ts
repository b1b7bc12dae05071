// The keys that phones lack. Ctrl and Alt stick until the next character.
import { h } from "../dom.ts";
import type { TerminalView } from "./view.ts";

/** What a character becomes with Ctrl, as terminals have it. */
export function withCtrl(text: string): string {
  if (text.length !== 1) return text;
  const code = text.toUpperCase().charCodeAt(0);
  if (text === "?") return "\x7f";
  if (text === " ") return "\0";
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : text;
}

/** What a character or key becomes with Alt. */
export function withAlt(text: string): string {
  return text.length === 1 ? `\x1b${text}` : text;
}

/** An arrow with or without modifiers, by xterm's numbers. */
export function arrow(letter: "A" | "B" | "C" | "D", isApplication: boolean, ctrl: boolean, alt: boolean): string {
  const modifier = 1 + (alt ? 2 : 0) + (ctrl ? 4 : 0);
  return modifier > 1 ? `\x1b[1;${modifier}${letter}` : `\x1b${isApplication ? "O" : "["}${letter}`;
}

export function keyBar(view: TerminalView): HTMLElement {
  let ctrl = false, alt = false;
  const sticky = (text: string, label: string, toggle: () => boolean): HTMLButtonElement => {
    const button = h("button", {
      type: "button", class: "key", "aria-pressed": "false", "aria-label": label,
      onclick: () => {
        button.setAttribute("aria-pressed", String(toggle()));
        update();
      },
    }, text);
    return button;
  };
  const ctrlKey = sticky("Ctrl", "Ctrl, for the next key", () => ctrl = !ctrl);
  const altKey = sticky("Alt", "Alt, for the next key", () => alt = !alt);
  const update = (): void => {
    view.modify = !ctrl && !alt ? undefined : (text) => {
      if (text.length !== 1) return text; // no key: a paste, or the terminal's own answer
      const changed = alt ? withAlt(ctrl ? withCtrl(text) : text) : withCtrl(text);
      release();
      return changed;
    };
  };
  const release = (): void => {
    ctrl = alt = false;
    view.modify = undefined;
    ctrlKey.setAttribute("aria-pressed", "false");
    altKey.setAttribute("aria-pressed", "false");
  };
  const key = (text: string, label: string, send: string | (() => string)): HTMLElement => h("button", {
    type: "button", class: "key", "aria-label": label, onclick: () => view.press(typeof send === "string" ? send : send()),
  }, text);
  const arrowKey = (text: string, label: string, letter: "A" | "B" | "C" | "D"): HTMLElement => key(text, label, () => {
    const keys = arrow(letter, view.terminal.modes.applicationCursorKeysMode, ctrl, alt);
    release();
    return keys;
  });
  return h("div", {
    class: "key-bar", role: "toolbar", "aria-label": "Keys",
    // The focus, and with it the phone's keyboard, stays where it is.
    onpointerdown: (event: PointerEvent) => event.preventDefault(),
    onmousedown: (event: MouseEvent) => event.preventDefault(),
  },
    key("Esc", "Esc", "\x1b"), key("Tab", "Tab", "\t"), ctrlKey, altKey,
    arrowKey("←", "Left", "D"), arrowKey("↑", "Up", "A"), arrowKey("↓", "Down", "B"), arrowKey("→", "Right", "C"),
    key("|", "Vertical bar", "|"), key("/", "Slash", "/"), key("~", "Tilde", "~"), key("-", "Minus", "-"),
    key("Home", "Home", "\x1b[H"), key("End", "End", "\x1b[F"), key("PgUp", "PgUp", "\x1b[5~"), key("PgDn", "PgDn", "\x1b[6~"));
}
