// The settings, the known host keys, and the page's own keys.
import { ask } from "./dialog.ts";
import { check, field, h } from "./dom.ts";
import type { KnownHosts } from "./known_hosts.ts";
import { FONT_SIZE, SCROLLBACK, type Settings, type SettingsStore } from "./settings.ts";

const shortcuts: [keys: string, what: string][] = [
  ["Ctrl+Shift+C", "Copy"], ["Ctrl+Shift+V", "Paste"], ["Ctrl+Shift+F", "Search"],
  ["Ctrl+Shift+ + −", "Size of the text"], ["Alt+PgUp PgDn", "Other tab"], ["Shift+F6", "Leave the terminal"],
];

export async function showSettings(settings: SettingsStore, knownHosts: KnownHosts, version: string): Promise<void> {
  const now = settings.current;
  const option = (name: "prediction" | "clipboard" | "screenReader" | "webgl" | "cursorBlink", label: string, hint?: string): HTMLElement =>
    check(label, { checked: now[name], onchange: (event: Event) => settings.change({ [name]: (event.target as HTMLInputElement).checked }) }, hint).element;
  const number = (name: "fontSize" | "scrollback", bounds: { min: number; max: number }, step: number): HTMLInputElement => {
    const input = h("input", {
      type: "number", value: now[name], step, inputmode: "numeric", ...bounds,
      onchange: () => {
        settings.change({ [name]: input.valueAsNumber });
        input.value = String(settings.current[name]);
      },
    });
    return input;
  };
  const theme = h("select", { onchange: () => settings.change({ theme: theme.value as Settings["theme"] }) },
    ...([["system", "As the system"], ["light", "Light"], ["dark", "Dark"]] as const).map(([value, text]) => h("option", { value, selected: now.theme === value }, text)));
  const font = h("input", { type: "text", value: now.fontFamily, placeholder: "The system’s", autocomplete: "off", spellcheck: "false", onchange: () => settings.change({ fontFamily: font.value.trim() }) });
  const hosts = h("textarea", { rows: 5, spellcheck: "false", wrap: "off", autocomplete: "off", onchange: () => knownHosts.text = hosts.value });
  hosts.value = knownHosts.text;
  await ask({
    title: "Settings", wide: true, focus: theme,
    body: [
      h("div", { class: "settings-grid" },
        field("Theme", theme), field("Size of the text", number("fontSize", FONT_SIZE, 1)),
        field("Font", font), field("Lines kept above the screen", number("scrollback", SCROLLBACK, 1000))),
      option("prediction", "Show typing at once on slow networks", "Underlined until the host confirms it, and never where nothing is echoed, such as in passwords."),
      option("clipboard", "Programs may copy to the clipboard", "By OSC 52, as tmux and vim do. They can never read it."),
      option("screenReader", "Support a screen reader", "Output is read aloud. It draws more slowly."),
      option("webgl", "Draw with the graphics card", "Takes effect in new tabs."),
      option("cursorBlink", "Blinking cursor"),
      h("details", {}, h("summary", {}, "Keys of this page"), h("dl", { class: "shortcuts" }, ...shortcuts.flatMap(([keys, what]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)]))),
      h("details", {}, h("summary", {}, "Known hosts"), field("Lines as in ~/.ssh/known_hosts", hosts, "Your own file can be pasted here, with @cert-authority and @revoked.")),
      version ? h("p", { class: "hint version" }, `wsproxy ${version}`) : "",
    ],
    buttons: [{ text: "Done", value: "done", kind: "primary", submit: true }],
  });
}
