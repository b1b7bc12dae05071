// What keyboards write that don't send keys: Android's with suggestions, input
// methods, dictation, emoji pickers. They change the text of a field, and may
// rewrite words that were sent long ago. The field is compared with what was
// sent of it, so that each character is sent once whatever events came.

const DELETE = "\x7f";

/** The model: what of the field's text has been sent. */
export class SentText {
  private sent = "";

  /** The field holds this now; returns what is to be sent. */
  changed(value: string): string {
    if (value === this.sent) return "";
    const before = [...this.sent], after = [...value];
    let common = 0;
    while (common < before.length && common < after.length && before[common] === after[common]) common++;
    this.sent = value;
    return DELETE.repeat(before.length - common) + after.slice(common).join("").replace(/\r?\n/g, "\r");
  }

  /** The field holds this now for another reason: nothing of it is to be sent. */
  synced(value: string): void {
    this.sent = value;
  }

  get length(): number {
    return this.sent.length;
  }
}

/** What the listener needs of the terminal. */
export interface InputTarget {
  /** The hidden field that has the focus. */
  field: HTMLTextAreaElement;
  /** An ancestor of the field: it hears events before the terminal does. */
  container: HTMLElement;
  send(text: string): void;
  /** Text that is being composed, to be shown at the cursor; "" when it ends. */
  composing(text: string): void;
}

/** A field longer than this is emptied at the next line, which costs a keyboard its context. */
const FIELD_LIMIT = 400;

/** Takes text input over from the terminal. Keys that are keys stay with it. Returns the end of it. */
export function takeTextInput(target: InputTarget): { flush(): void; dispose(): void } {
  const { field, container } = target;
  const model = new SentText();
  const ends = new AbortController();
  let composing = false;
  let key = ""; // the one that is down, which the terminal has sent itself

  const send = (): void => {
    const text = model.changed(field.value);
    if (!text) return;
    target.send(text);
    if (text.endsWith("\r") || model.length > FIELD_LIMIT && text.endsWith(" ")) {
      field.value = "";
      model.synced("");
    }
  };
  const finish = (): void => {
    composing = false;
    target.composing("");
    send();
  };
  const on = <K extends keyof HTMLElementEventMap>(name: K, heard: (event: HTMLElementEventMap[K]) => void): void =>
    container.addEventListener(name, (event) => {
      if (event.target === field) heard(event);
    }, { capture: true, signal: ends.signal });

  on("keydown", (event) => {
    if (event.keyCode === 229 || event.isComposing) {
      key = "";
      event.stopPropagation();
      return;
    }
    if (isModifier(event)) return;
    if (composing) finish(); // a key such as Enter ends the word under way
    key = event.key;
    model.synced(field.value);
  });
  on("keyup", () => {
    key = "";
  });
  on("compositionstart", (event) => {
    event.stopPropagation();
    composing = true;
    key = "";
  });
  on("compositionupdate", (event) => {
    event.stopPropagation();
    target.composing(event.data);
  });
  on("compositionend", (event) => {
    event.stopPropagation();
    // Some browsers change the field after this event.
    setTimeout(() => composing && finish());
  });
  on("beforeinput", (event) => {
    const { inputType } = event as InputEvent;
    if (!key && !composing && inputType === "deleteContentBackward" && field.value === "") target.send(DELETE);
  });
  on("input", (event) => {
    event.stopPropagation();
    const input = event as InputEvent;
    if (input.inputType.startsWith("insertFrom")) { // pasted and dropped text is taken elsewhere
      field.value = "";
      model.synced("");
    } else if (isOf(key, input)) {
      model.synced(field.value);
    } else if (!composing || !input.isComposing && input.inputType !== "insertCompositionText") {
      send();
    }
  });
  on("blur", () => {
    if (composing) finish();
    field.value = "";
    model.synced("");
  });
  return { flush: () => composing && finish(), dispose: () => ends.abort() };
}

// Whether the field was changed by a key that the terminal has sent: for screen readers it lets the field have it too.
function isOf(key: string, { data, inputType }: InputEvent): boolean {
  return data !== null && data === key || key === "Backspace" && inputType.startsWith("delete") || key === "Enter" && inputType.startsWith("insertLine");
}

function isModifier(event: KeyboardEvent): boolean {
  return ["Shift", "Control", "Alt", "Meta", "CapsLock", "AltGraph"].includes(event.key);
}
