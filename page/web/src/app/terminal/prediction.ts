// Local echo by mosh's rules: what is typed is shown before the far side has
// echoed it, but only where the far side has shown that it does echo.
//
// The model never touches the terminal. It is told what was typed and asked,
// after every piece of output, to compare the screen with the states that it
// expects. A view draws `shown()` over the screen.

/** What the model needs to see of the screen. Rows are counted from the top of the scrollback. */
export interface Screen {
  readonly cols: number;
  readonly cursorX: number;
  readonly cursorRow: number;
  /** The characters of a row, one entry a cell, " " where nothing is. */
  row(row: number): string[];
}

/** A piece of a row to be drawn over the screen, and where the cursor is predicted. */
export interface Shown {
  row: number;
  cells: { x: number; text: string; underline: boolean }[];
  cursorX: number;
}

/** Echo times above it make predictions visible, in milliseconds. */
export const SHOW_ABOVE = 40;
/** Below it they vanish again: between the two nothing changes, so that it does not flicker. */
export const HIDE_BELOW = 30;
/** A screen that fits no expected state for so long is something else; output may come in pieces. */
const MISMATCH_PATIENCE = 40;
/** Nothing that was typed is under way any more after so many echo times, and a little. */
const QUIET_FACTOR = 2;
/** A prediction is given up after so many echo times, and not before the least below. */
const EXPIRY_FACTOR = 3;
const EXPIRY_LEAST = 600;
/** Typing that is not predicted is remembered so far, to find the place again. */
const PENDING_LIMIT = 256;

interface Step {
  /** The row and the cursor as they are expected once this key is echoed. */
  cells: string[];
  cursorX: number;
  at: number;
  /** The cell typed into, or -1: only such a step says something about echo. */
  x: number;
  /** The cell held the same character before, so that seeing it there proves nothing. */
  credit: boolean;
}

export class Prediction {
  enabled = true;
  /** Smoothed time from a key to its echo in milliseconds; undefined until it was seen once. */
  echoTime: number | undefined;

  private visible = false;
  private confirmed = false; // the far side echoes since the last key that may have changed that
  private steps: Step[] = [];
  private row = -1;
  private base: string[] = [];
  private baseX = 0;
  private leftmost = 0; // a backspace is predicted no farther
  private blind = false; // typed keys are under way that were not predicted
  private blindRow = -1; // where the cursor was then
  private closing = false; // what is predicted stays until it is echoed, and nothing follows it
  private pending: { text: string; at: number }[] = [];
  private lastTyped = 0;
  private oddSince: number | undefined;

  constructor(private now: () => number = () => performance.now()) {}

  /** Tells what the user typed, as the terminal sends it. */
  typed(data: string, screen: Screen): void {
    if (!this.enabled) return;
    if (this.blind && !this.steps.length && this.quiet()) this.see();
    if (!this.blind) this.blindRow = screen.cursorRow;
    this.lastTyped = this.now();
    if (data.length > 16 || data.startsWith("\x1b[200~")) return this.pause(); // a paste
    const keys = data.match(/\x1b(?:\[|O)[0-9;]*[A-Za-z~]|\x1b.|[\s\S]/gu) ?? [];
    for (const key of keys) this.key(key, screen);
  }

  private key(key: string, screen: Screen): void {
    if (isPlain(key)) {
      if (this.blind) {
        if (this.pending.length < PENDING_LIMIT) this.pending.push({ text: key, at: this.now() });
        return;
      }
      this.begin(screen);
      const last = this.last();
      if (last.cursorX >= screen.cols - 1) return this.pause(); // where lines wrap every program has its own way
      const cells = [...last.cells];
      insert(cells, last.cursorX, key);
      this.push(cells, last.cursorX + 1, last.cursorX, last.cells[last.cursorX] !== key);
      return;
    }
    if (this.blind || !this.steps.length && !this.confirmed) return this.pause();
    this.begin(screen);
    const last = this.last();
    if (key === "\x7f" && last.cursorX > this.leftmost) {
      const cells = [...last.cells];
      remove(cells, last.cursorX - 1);
      return this.push(cells, last.cursorX - 1, -1, false);
    }
    if ((key === "\x1b[D" || key === "\x1bOD") && last.cursorX > this.leftmost) {
      return this.push([...last.cells], last.cursorX - 1, -1, false);
    }
    if ((key === "\x1b[C" || key === "\x1bOC") && last.cells.slice(last.cursorX).some((c) => c !== " ")) {
      return this.push([...last.cells], last.cursorX + 1, -1, false);
    }
    this.pause();
  }

  /** To be called after output was parsed, and when `nextCheck` has passed. */
  checked(screen: Screen): void {
    if (!this.enabled) return;
    if (!this.blind) this.blindRow = screen.cursorRow;
    if (this.blind && !this.steps.length) this.findPlace(screen);
    if (!this.steps.length) return;
    const now = this.now();
    const cells = screen.row(this.row);
    if (this.closing && screen.cursorRow > this.row && same(cells, this.last().cells)) {
      return this.confirm(this.steps.length - 1, now); // the line was echoed, and its end too
    }
    const is = (state: { cells: string[]; cursorX: number }): boolean => state.cursorX === screen.cursorX && same(cells, state.cells);
    if (screen.cursorRow === this.row) {
      // States may repeat, as when a character is deleted again: the earliest is taken for the one.
      if (is({ cells: this.base, cursorX: this.baseX })) {
        this.oddSince = undefined;
        if (now - this.steps[0]!.at <= this.expiry() && !(this.closing && is(this.last()))) return;
        const again = this.steps.map(is).lastIndexOf(true);
        return again < 0 ? this.doubt() : this.confirm(again, now); // if none, nothing echoes here
      }
      const echoed = this.steps.findIndex(is);
      if (echoed >= 0) return this.confirm(echoed, now);
    }
    this.oddSince ??= now;
    if (now - this.oddSince >= MISMATCH_PATIENCE) this.doubt();
  }

  /** What is to be drawn, or undefined if nothing. */
  shown(): Shown | undefined {
    if (!this.enabled || !this.visible || !this.confirmed || !this.steps.length) return undefined;
    const last = this.last();
    const cells = [];
    for (let x = 0; x < last.cells.length; x++) {
      if (last.cells[x] === this.base[x] && !(x === this.baseX && last.cursorX !== x)) continue;
      cells.push({ x, text: last.cells[x]!, underline: this.steps.some((s) => s.x === x) && last.cells[x] !== " " });
    }
    return { row: this.row, cells, cursorX: last.cursorX };
  }

  /** In how many milliseconds `checked` is to be called though nothing has come; undefined if it need not. */
  nextCheck(): number | undefined {
    if (!this.steps.length) return undefined;
    const now = this.now();
    let next = this.steps[0]!.at + this.expiry() - now;
    if (this.oddSince !== undefined) next = Math.min(next, this.oddSince + MISMATCH_PATIENCE - now);
    return Math.max(next + 1, 1);
  }

  /** Forgets everything that is not confirmed: the screen has changed its size, or the session has moved. */
  reset(): void {
    this.doubt();
    this.see();
  }

  private begin(screen: Screen): void {
    if (this.steps.length) return;
    if (this.row !== screen.cursorRow || screen.cursorX < this.leftmost) this.leftmost = screen.cursorX;
    this.row = screen.cursorRow;
    this.base = screen.row(this.row);
    this.baseX = screen.cursorX;
    if (!this.confirmed) this.leftmost = screen.cursorX;
  }

  private last(): { cells: string[]; cursorX: number } {
    return this.steps[this.steps.length - 1] ?? { cells: this.base, cursorX: this.baseX };
  }

  private push(cells: string[], cursorX: number, x: number, credit: boolean): void {
    this.steps.push({ cells, cursorX, at: this.now(), x, credit });
  }

  private confirm(index: number, now: number): void {
    this.oddSince = undefined;
    const done = this.steps.splice(0, index + 1);
    const last = done[done.length - 1]!;
    this.base = last.cells;
    this.baseX = last.cursorX;
    if (done.some((step) => step.x >= 0 && step.credit)) {
      this.confirmed = true;
      this.measured(now - last.at);
    }
    if (this.closing && !this.steps.length) this.doubt(this.pending);
  }

  private measured(time: number): void {
    this.echoTime = this.echoTime === undefined ? time : this.echoTime * 0.8 + time * 0.2;
    if (this.echoTime > SHOW_ABOVE) this.visible = true;
    else if (this.echoTime < HIDE_BELOW) this.visible = false;
  }

  private expiry(): number {
    return Math.max(EXPIRY_LEAST, (this.echoTime ?? 0) * EXPIRY_FACTOR);
  }

  // A key that may change what is echoed: nothing more is predicted, and what is stays until its echo.
  private pause(): void {
    if (!this.steps.length) return this.doubt();
    this.closing = this.blind = true;
    this.pending = [];
  }

  // Nothing is shown before the far side has echoed again.
  private doubt(pending: typeof this.pending = []): void {
    this.steps = [];
    this.confirmed = this.closing = false;
    this.oddSince = undefined;
    this.blind = true;
    this.pending = pending;
  }

  // Nothing that was typed can be under way any more.
  private quiet(): boolean {
    return this.now() - this.lastTyped > (this.echoTime ?? EXPIRY_LEAST) * QUIET_FACTOR + 50;
  }

  private see(): void {
    this.blind = false;
    this.pending = [];
  }

  // Keys were typed that were not predicted. The place is known again when the text before the
  // cursor of another line ends with what was typed, or when nothing can be under way any more.
  private findPlace(screen: Screen): void {
    if (this.quiet()) return this.see();
    if (screen.cursorRow === this.blindRow) return; // the text may have stood there before
    const before = screen.row(screen.cursorRow).slice(0, screen.cursorX).join("");
    for (let k = this.pending.length; k > 0; k--) {
      const echoed = this.pending.slice(0, k).map((key) => key.text).join("");
      if (!echoed.trim() || !before.endsWith(echoed)) continue;
      const rest = this.pending.slice(k);
      this.see();
      this.begin(screen);
      for (const { text, at } of rest) {
        this.key(text, screen);
        const step = this.steps[this.steps.length - 1];
        if (step) step.at = at;
      }
      return;
    }
  }
}

// One cell wide and no control character: what a terminal certainly draws as it was typed.
function isPlain(key: string): boolean {
  return /^[\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f]$/u.test(key);
}

function same(a: string[], b: string[]): boolean {
  return a.length === b.length && a.every((cell, x) => cell === b[x]);
}

/** So many blanks in a row part a line from what stands beside it, such as a prompt at the right margin. */
const GAP = 8;

// Text right of the cursor moves along with it, up to the first gap.
function gap(cells: string[], from: number): number {
  let blanks = 0;
  for (let x = from; x < cells.length; x++) {
    blanks = cells[x] === " " ? blanks + 1 : 0;
    if (blanks === GAP) return x - GAP + 1;
  }
  return cells.length - 1;
}

function insert(cells: string[], x: number, text: string): void {
  const end = gap(cells, x);
  cells.splice(end, 1);
  cells.splice(x, 0, text);
}

function remove(cells: string[], x: number): void {
  const end = gap(cells, x + 1);
  cells.splice(x, 1);
  cells.splice(Math.max(end - 1, x), 0, " ");
}
