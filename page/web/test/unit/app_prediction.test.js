import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

const { Prediction } = await load("src/app/terminal/prediction.ts");

// A screen whose far side is driven by hand, and a clock.
class Far {
  constructor(cols = 20) {
    this.cols = cols;
    this.rows = [Array(cols).fill(" ")];
    this.cursorX = 0;
    this.cursorRow = 0;
    this.time = 0;
    this.prediction = new Prediction(() => this.time);
  }
  row(row) {
    return [...(this.rows[row] ?? Array(this.cols).fill(" "))];
  }
  // What the far side sends: printable characters, "\r", "\n", "\b".
  output(text) {
    for (const char of text) {
      if (char === "\r") this.cursorX = 0;
      else if (char === "\b") this.cursorX--;
      else if (char === "\n") {
        this.cursorRow++;
        this.rows[this.cursorRow] ??= Array(this.cols).fill(" ");
      } else this.rows[this.cursorRow][this.cursorX++] = char;
    }
    this.prediction.checked(this);
  }
  type(text) {
    for (const char of text) this.prediction.typed(char, this);
  }
  after(time) {
    this.time += time;
    this.prediction.checked(this);
  }
  shown() {
    const shown = this.prediction.shown();
    return shown && { text: shown.cells.filter((c) => c.text !== " ").map((c) => c.text).join(""), cursorX: shown.cursorX };
  }
}

// A far side that has echoed a key after the given time.
function echoing(time) {
  const far = new Far();
  far.output("$ ");
  far.type("a");
  far.time += time;
  far.output("a");
  return far;
}

test("nothing is shown before the far side has echoed once", () => {
  const far = new Far();
  far.output("$ ");
  far.type("ab");
  assert.equal(far.shown(), undefined);
  far.time = 100;
  far.output("a");
  assert.deepEqual(far.shown(), { text: "b", cursorX: 4 });
  far.output("b");
  assert.equal(far.shown(), undefined);
});

test("a fast far side is left to echo itself", () => {
  const far = echoing(5);
  far.type("b");
  assert.equal(far.shown(), undefined);
  assert.equal(far.prediction.echoTime, 5);
});

test("typing is shown underlined at the cursor until confirmed", () => {
  const far = echoing(100);
  far.type("bc");
  assert.deepEqual(far.prediction.shown(), { row: 0, cursorX: 5, cells: [{ x: 3, text: "b", underline: true }, { x: 4, text: "c", underline: true }] });
  far.time += 100;
  far.output("b");
  assert.deepEqual(far.shown(), { text: "c", cursorX: 5 });
  far.output("c");
  assert.equal(far.shown(), undefined);
});

test("no password is ever shown", () => {
  const far = echoing(100);
  far.type("\r");
  far.time += 100;
  far.output("\r\nPassword: ");
  far.time += 2000;
  for (const char of "hunter2") {
    far.type(char);
    assert.equal(far.shown(), undefined);
    far.after(90);
  }
  far.type("\r");
  far.after(100);
  far.output("\r\n$ ");
  assert.equal(far.shown(), undefined);
});

test("what was typed before Enter stays until its echo", () => {
  const far = echoing(100);
  far.type("b\r");
  assert.deepEqual(far.shown(), { text: "b", cursorX: 4 });
  far.time += 100;
  far.output("b\r\n$ ");
  assert.equal(far.shown(), undefined);
});

test("typing ahead finds its place by what the far side echoes", () => {
  const far = echoing(200);
  far.type("\rlsx");
  assert.equal(far.shown(), undefined);
  far.time += 200;
  far.output("\r\n$ ");
  assert.equal(far.shown(), undefined);
  far.output("l");
  assert.equal(far.shown(), undefined); // found, but not yet proven
  far.output("s");
  assert.deepEqual(far.shown(), { text: "x", cursorX: 5 });
});

test("a wrong guess goes away, and is not repeated", () => {
  const far = echoing(100);
  far.type("q");
  assert.ok(far.shown());
  far.time += 100;
  far.output("\r\n-- more --");
  far.after(50);
  assert.equal(far.shown(), undefined);
  far.time += 1000;
  far.type("q");
  assert.equal(far.shown(), undefined);
});

test("output in pieces is no wrong guess", () => {
  const far = echoing(100);
  far.type("b");
  far.time += 100;
  far.output("\b\b\b$ "); // the shell draws its line anew
  assert.ok(far.shown());
  far.time += 5;
  far.output("ab");
  assert.equal(far.shown(), undefined);
  far.type("c");
  assert.deepEqual(far.shown(), { text: "c", cursorX: 5 });
});

test("where echo stops the guesses expire", () => {
  const far = echoing(100);
  far.type("b");
  assert.ok(far.prediction.nextCheck() > 500);
  far.after(700);
  assert.equal(far.shown(), undefined);
  assert.equal(far.prediction.nextCheck(), undefined);
});

test("backspace is predicted over what was typed, not into the prompt", () => {
  const far = echoing(100);
  far.type("\x7f");
  assert.deepEqual(far.prediction.shown(), { row: 0, cursorX: 2, cells: [{ x: 2, text: " ", underline: false }, { x: 3, text: " ", underline: false }] });
  far.type("\x7f");
  assert.deepEqual(far.shown(), { text: "", cursorX: 2 });
  far.time += 100;
  far.output("\b \b");
  assert.equal(far.shown(), undefined);
});

test("a key in the middle of a line moves the rest along", () => {
  const far = echoing(100);
  far.type("c");
  far.time += 100;
  far.output("c");
  far.prediction.typed("\x1b[D", far);
  far.type("b");
  assert.deepEqual(far.shown(), { text: "bc", cursorX: 4 });
  far.time += 100;
  far.output("\b");
  far.output("bc\b");
  assert.equal(far.shown(), undefined);
});

test("seeing what stood there anyway proves nothing", () => {
  const far = new Far();
  far.output("xx\b\b");
  far.type("x");
  far.time = 100;
  far.output("x"); // a program that moved over it
  far.type("y");
  assert.equal(far.shown(), undefined);
});

test("nothing is predicted at the right margin or of a paste", () => {
  const far = new Far(5);
  far.output("$ ");
  far.type("a");
  far.time = 100;
  far.output("a");
  far.type("bc");
  assert.deepEqual(far.shown(), { text: "b", cursorX: 4 });
  const other = echoing(100);
  other.prediction.typed("\x1b[200~hello\x1b[201~", other);
  assert.equal(other.shown(), undefined);
});

test("switched off it neither shows nor keeps anything", () => {
  const far = echoing(100);
  far.prediction.enabled = false;
  far.type("b");
  assert.equal(far.shown(), undefined);
  assert.equal(far.prediction.nextCheck(), undefined);
});

// A far side with a line editor, as shells have, and the time that a key takes.
class Shell {
  constructor(latency, random) {
    Object.assign(this, { latency, random, cols: 60, time: 0, line: "", at: 0, queue: [], rows: [this.blank()], cursorX: 0, cursorRow: 0 });
    this.prediction = new Prediction(() => this.time);
    this.ideal = { line: "", at: 0 };
    this.draw({ line: "", at: 0, row: 0 });
  }
  blank() {
    return Array(60).fill(" ");
  }
  row(row) {
    return [...(this.rows[row] ?? this.blank())];
  }
  static edit(state, key) {
    const { line, at } = state;
    if (key === "\x7f") return at > 0 ? { ...state, line: line.slice(0, at - 1) + line.slice(at), at: at - 1 } : state;
    if (key === "\x1b[D") return { ...state, at: Math.max(0, at - 1) };
    if (key === "\x1b[C") return { ...state, at: Math.min(line.length, at + 1) };
    if (key === "\r") return { line: "", at: 0, row: (state.row ?? 0) + 1 };
    return { ...state, line: line.slice(0, at) + key + line.slice(at), at: at + 1 };
  }
  draw({ line, at, row }) {
    this.rows[row] = [...`$ ${line}`.padEnd(60)];
    this.cursorX = 2 + at;
    this.cursorRow = row;
    this.far = { line, at, row };
  }
  type(key) {
    this.prediction.typed(key, this);
    this.ideal = Shell.edit({ row: 0, ...this.ideal }, key);
    this.queue.push({ key, ideal: this.ideal, due: this.time + this.latency * (0.7 + 0.6 * this.random()) });
    this.queue.forEach((entry, i) => { if (i) entry.due = Math.max(entry.due, this.queue[i - 1].due); });
  }
  // The row with what is shown over it, and the cursor.
  told() {
    const { row, cells, cursorX } = this.prediction.shown();
    const seen = this.row(row);
    for (const { x, text } of cells) seen[x] = text;
    return seen.join("") + cursorX;
  }
  after(ms) {
    for (const end = this.time + ms; this.time < end;) {
      this.time += 5;
      let isNews = false;
      while (this.queue.length && this.queue[0].due <= this.time) {
        this.draw(Shell.edit(this.far, this.queue.shift().key));
        isNews = true;
      }
      if (isNews || this.prediction.nextCheck() < 6) this.prediction.checked(this);
    }
  }
}

// Whether what is shown is what the shell will show, at least after the last key that could be predicted.
function isRight(shell) {
  const view = shell.prediction.shown();
  if (!view || view.row !== (shell.ideal.row ?? 0)) return true;
  return [shell.ideal, ...shell.queue.map(({ ideal }) => ideal)].some(({ line, at }) => shell.told() === `$ ${line}`.padEnd(60) + (2 + at));
}

test("whatever is typed at whatever speed, what is shown is what the shell will show", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  let shown = 0, looked = 0;
  for (let round = 0; round < 60; round++) {
    const shell = new Shell(60 + 300 * random(), random);
    for (let i = 0; i < 120; i++) {
      const dice = random();
      const key = dice < 0.75 ? "abcdef gh"[Math.floor(random() * 9)] : dice < 0.85 ? "\x7f" : dice < 0.92 ? "\x1b[D" : dice < 0.96 ? "\x1b[C" : "\r";
      if (shell.ideal.line.length > 40 && key.length === 1 && key >= " " && key !== "\x7f") continue;
      shell.type(key);
      looked++;
      if (shell.prediction.shown()) shown++;
      if (!isRight(shell)) {
        shell.after(50); // output that comes in pieces is given as much
        assert.ok(isRight(shell), "what is shown is not what comes");
      }
      shell.after(20 + 300 * random());
    }
    shell.after(5000);
    assert.equal(shell.prediction.shown(), undefined);
  }
  assert.ok(shown / looked > 0.4, `only ${(100 * shown / looked).toFixed()} % of the keys were shown at once`);
});
