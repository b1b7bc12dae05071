// Draws predicted echo over the terminal, and gives the model its eyes.
import type { Terminal } from "@xterm/xterm";
import { h } from "../dom.ts";
import { Prediction, type Screen } from "./prediction.ts";

export class PredictionView {
  readonly model = new Prediction();
  private layer = h("div", { class: "predicted", "aria-hidden": "true" });
  private screen: Screen;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isDrawn = false;

  /** The terminal must be open. */
  constructor(private terminal: Terminal) {
    this.screen = screenOf(terminal);
    terminal.element!.querySelector(".xterm-screen")!.append(this.layer);
    terminal.onWriteParsed(() => this.update());
    terminal.onScroll(() => this.draw());
    terminal.onResize(() => {
      this.model.reset();
      this.draw();
    });
  }

  set enabled(enabled: boolean) {
    this.model.enabled = enabled;
    this.draw();
  }

  /** To be called with all that is typed, before it is sent. */
  typed(data: string): void {
    this.model.typed(data, this.screen);
    this.draw();
  }

  private update(): void {
    this.model.checked(this.screen);
    this.draw();
  }

  private draw(): void {
    clearTimeout(this.timer);
    const next = this.model.nextCheck();
    if (next !== undefined) this.timer = setTimeout(() => this.update(), next);
    const shown = this.model.shown();
    if (!shown && !this.isDrawn) return;
    this.isDrawn = shown !== undefined;
    this.layer.replaceChildren();
    if (!shown) return;
    const { terminal } = this;
    const row = shown.row - terminal.buffer.active.viewportY;
    if (row < 0 || row >= terminal.rows) return;
    const { clientWidth, clientHeight } = this.layer.parentElement!;
    const width = clientWidth / terminal.cols, height = clientHeight / terminal.rows;
    const { fontFamily, fontSize } = terminal.options;
    const { background, foreground, cursor } = terminal.options.theme ?? {};
    this.layer.style.font = `${fontSize}px ${fontFamily}`;
    const put = (className: string, x: number, text = ""): HTMLElement => {
      const cell = h("i", { class: className }, text);
      Object.assign(cell.style, {
        left: `${x * width}px`, top: `${row * height}px`, width: `${width}px`, height: `${height}px`, lineHeight: `${height}px`,
        color: foreground, background,
      });
      this.layer.append(cell);
      return cell;
    };
    for (const { x, text, underline } of shown.cells) put(underline ? "guess" : "moved", x, text);
    put("cursor", shown.cursorX).style.background = cursor ?? "";
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.layer.remove();
  }
}

function screenOf(terminal: Terminal): Screen {
  return {
    get cols() {
      return terminal.cols;
    },
    get cursorX() {
      return terminal.buffer.active.cursorX;
    },
    get cursorRow() {
      return terminal.buffer.active.baseY + terminal.buffer.active.cursorY;
    },
    row(row) {
      const line = terminal.buffer.active.getLine(row);
      const cell = terminal.buffer.active.getNullCell();
      return Array.from({ length: terminal.cols }, (_, x) => line?.getCell(x, cell)?.getChars() || " ");
    },
  };
}
