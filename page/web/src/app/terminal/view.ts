// A terminal on the page: xterm.js with its addons, and what it lacks. It knows
// nothing of sessions: bytes come in by `write`, and what is typed goes out.
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { confirm } from "../dialog.ts";
import { h } from "../dom.ts";
import { copyText } from "../copy.ts";
import { say } from "../notice.ts";
import type { SettingsStore } from "../settings.ts";
import { allowTerminalStyles } from "./csp_styles.ts";
import { clipboardText } from "./osc52.ts";
import { pasteable, runsByItself } from "./paste.ts";
import { PredictionView } from "./prediction_view.ts";
import { boundRepeats } from "./repeats.ts";
import { takeTextInput } from "./text_input.ts";
import { LEAST_CONTRAST, dark, light, onSystemTheme, resolved } from "./theme.ts";
import { scrollByTouch } from "./touch.ts";

const FONTS = 'ui-monospace, "SF Mono", Menlo, "Cascadia Mono", Consolas, "DejaVu Sans Mono", "Noto Sans Mono", "Roboto Mono", monospace';

/** Of the font's own height. Less cuts underscores off in some fonts. */
const LINE_HEIGHT = 1.1;

/** Characters of a link's target that are shown before it is opened. */
const LONGEST_HINT = 300;

/** Bytes that are parsed in one go. */
const PIECE = 4 << 10;

export interface TerminalEvents {
  /** What is typed, pasted or answered, as bytes for the far side. */
  input(bytes: Uint8Array<ArrayBuffer>): void;
  resized(cols: number, rows: number): void;
  titled(title: string): void;
  /** A key that is the page's; true if it was taken. */
  shortcut(event: KeyboardEvent): boolean;
}

export class TerminalView {
  readonly element = h("div", { class: "terminal" });
  readonly search = new SearchAddon();
  readonly terminal: Terminal;
  /** Set by a sticky Ctrl or Alt of the bar of keys: the next character is changed by it. */
  modify: ((text: string) => string) | undefined;

  private fit = new FitAddon();
  private prediction: PredictionView | undefined;
  private input: ReturnType<typeof takeTextInput> | undefined;
  private ends: (() => void)[] = [];
  private composed = h("div", { class: "composed", "aria-hidden": "true" });
  private hasWebGL = false;
  private replays = 0; // pieces of earlier output that are on their way to the screen

  constructor(private settings: SettingsStore, events: TerminalEvents) {
    allowTerminalStyles();
    this.terminal = new Terminal({
      allowProposedApi: true, // decorations of the search, and graphemes
      ...this.options(), macOptionIsMeta: false, rightClickSelectsWord: false, scrollOnUserInput: true,
      // The text of such a link says nothing of where it leads.
      linkHandler: {
        activate: (_, uri) => void openLink(uri),
        hover: (_, uri) => this.element.title = uri.slice(0, LONGEST_HINT),
        leave: () => this.element.title = "",
      },
    });
    const { terminal } = this;
    terminal.loadAddon(this.fit);
    terminal.loadAddon(this.search);
    terminal.loadAddon(new UnicodeGraphemesAddon());
    terminal.loadAddon(new WebLinksAddon((_, uri) => void openLink(uri)));
    const encoder = new TextEncoder();
    terminal.onData((data) => {
      if (this.replays && data.startsWith("\x1b")) return; // an answer to a question of long ago
      const text = this.modify ? this.modify(data) : data;
      this.prediction?.typed(text);
      events.input(encoder.encode(text));
    });
    terminal.onBinary((data) => events.input(Uint8Array.from(data, (char) => char.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => events.resized(cols, rows));
    terminal.onTitleChange((title) => events.titled(title));
    terminal.attachCustomKeyEventHandler((event) => event.type !== "keydown" || !events.shortcut(event));
    boundRepeats(terminal);
    terminal.parser.registerOscHandler(52, (data) => {
      const text = clipboardText(data);
      if (text === undefined || this.replays) return true;
      if (settings.current.clipboard) copyText(text).then(() => say("A program has copied text."), (error: Error) => say(error.message));
      else say("A program wanted to copy text. The settings allow it.");
      return true;
    });
  }

  /** Puts it on the page; its element must be there, and have a size. */
  open(): void {
    const { terminal, element } = this;
    terminal.open(element);
    terminal.textarea!.setAttribute("aria-label", "Terminal. Shift+F6 leaves it.");
    this.fitNow();
    this.prediction = new PredictionView(terminal);
    element.querySelector(".xterm-screen")!.append(this.composed);
    this.input = takeTextInput({
      field: terminal.textarea!, container: element, send: (text) => terminal.input(text, true), composing: (text) => this.compose(text),
    });
    element.addEventListener("paste", (event) => {
      event.preventDefault();
      event.stopPropagation();
      void this.paste(event.clipboardData?.getData("text/plain") ?? "");
    }, { capture: true });
    scrollByTouch(terminal, element);
    const observer = new ResizeObserver(() => this.fitNow());
    observer.observe(element);
    this.ends.push(() => observer.disconnect(), this.settings.onChange(() => this.apply()), onSystemTheme(() => this.apply()));
    this.apply();
  }

  /** Done when the bytes are on the screen: what holds the far side up. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      // Only between two pieces does xterm.js let the page go on, and some sequences take a thousand times as long as text.
      let from = 0;
      for (; bytes.length - from > PIECE; from += PIECE) this.terminal.write(bytes.subarray(from, from + PIECE));
      this.terminal.write(bytes.subarray(from), resolve);
    });
  }

  /** The same with output that was shown before: nothing in it is answered or obeyed again. */
  async replay(bytes: Uint8Array): Promise<void> {
    this.replays++;
    await this.write(bytes);
    this.replays--;
  }

  focus(): void {
    // A field that got the focus back when a dialog closed has it without a caret, and input methods don't reach it.
    if (document.activeElement === this.terminal.textarea) this.terminal.blur();
    this.terminal.focus();
  }

  get size(): { cols: number; rows: number } {
    return { cols: this.terminal.cols, rows: this.terminal.rows };
  }

  /** Sends keys as if typed: from the bar of keys. */
  press(text: string): void {
    this.input?.flush();
    this.terminal.input(text, true);
  }

  /** Pastes, and asks first where several lines would run at once. */
  async paste(text: string): Promise<void> {
    const clean = pasteable(text);
    const { terminal } = this;
    if (runsByItself(clean, terminal.modes.bracketedPasteMode)) {
      const lines = clean.split("\n").length;
      if (!await confirm("Paste several lines?", `The program takes each of the ${lines} lines as if Enter was pressed after it.`, "Paste")) return;
    }
    if (clean) terminal.paste(clean);
  }

  /** Copies the selection; false if there is none. */
  copy(): boolean {
    const text = this.terminal.getSelection();
    if (!text) return false;
    copyText(text).then(() => say("Copied."), (error: Error) => say(error.message));
    return true;
  }

  /** Gets it ready for another session: what the last one has set is set back, its text stays. */
  renew(): void {
    const { cursorX, cursorY, baseY } = this.terminal.buffer.normal;
    const isEmpty = cursorX + cursorY + baseY === 0;
    this.terminal.write(`\x1b[?1049l\x1b[?9;1000;1002;1003;1004;1005;1006;1015;2004l\x1b[?25h\x1b[!p${isEmpty ? "" : "\x1b[999B\r\n"}`);
    this.forgetPredictions();
  }

  /** What it looks like after the session has moved on without it. */
  forgetPredictions(): void {
    this.prediction?.model.reset();
  }

  dispose(): void {
    for (const end of this.ends) end();
    this.input?.dispose();
    this.prediction?.dispose();
    this.terminal.dispose();
    this.element.remove();
  }

  private options() {
    const { fontSize, fontFamily, scrollback, cursorBlink, screenReader, theme } = this.settings.current;
    const kind = resolved(theme);
    return {
      fontSize, lineHeight: LINE_HEIGHT, fontFamily: fontFamily ? `${fontFamily}, ${FONTS}` : FONTS, scrollback, cursorBlink, screenReaderMode: screenReader,
      theme: kind === "dark" ? dark : light, minimumContrastRatio: LEAST_CONTRAST[kind],
    };
  }

  private apply(): void {
    Object.assign(this.terminal.options, this.options());
    if (this.prediction) this.prediction.enabled = this.settings.current.prediction;
    if (this.settings.current.webgl && !this.settings.current.screenReader) void this.useWebGL();
    this.fitNow();
  }

  private fitNow(): void {
    if (this.element.clientWidth > 0 && this.element.clientHeight > 0) this.fit.fit();
  }

  // The graphics card draws much faster. Without one, or when the browser takes it away, the page's own elements do.
  private async useWebGL(): Promise<void> {
    if (this.hasWebGL) return;
    this.hasWebGL = true;
    try {
      const { WebglAddon } = await import("@xterm/addon-webgl");
      const addon = new WebglAddon();
      addon.onContextLoss(() => addon.dispose());
      this.terminal.loadAddon(addon);
    } catch {
      // It is drawn by elements already.
    }
  }

  private compose(text: string): void {
    this.composed.textContent = text;
    this.composed.hidden = !text;
    if (!text) return;
    const { terminal } = this;
    const { clientWidth, clientHeight } = this.composed.parentElement!;
    const left = terminal.buffer.active.cursorX * clientWidth / terminal.cols;
    const top = terminal.buffer.active.cursorY * clientHeight / terminal.rows;
    Object.assign(this.composed.style, {
      left: `${left}px`, top: `${top}px`, font: `${terminal.options.fontSize}px ${terminal.options.fontFamily}`, lineHeight: `${clientHeight / terminal.rows}px`,
    });
    Object.assign(terminal.textarea!.style, { left: `${left}px`, top: `${top}px` });
  }
}

// Text on a terminal can be anybody's: only what opens a page is opened, and without this one as its opener.
async function openLink(uri: string): Promise<void> {
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    return;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return say(`Links that begin with ${url.protocol} are not opened.`);
  window.open(url, "_blank", "noopener,noreferrer");
}
