// OSC 52: a program on the far side may write the clipboard if the person lets
// it. It may never read it: whatever was copied last may be a password.

/** More than a person copies, and less than would fill a clipboard manager. */
const LIMIT = 1 << 20;

/**
 * Reads the sequence's data, `Pc;Pd`: the text to be put into the clipboard, or
 * undefined when there is nothing to write: a question for its content, data
 * that is no base64, or too much of it.
 */
export function clipboardText(data: string): string | undefined {
  const at = data.indexOf(";");
  if (at < 0) return undefined;
  const selections = data.slice(0, at), encoded = data.slice(at + 1);
  if (!/^[cpqs0-7]*$/.test(selections) || encoded === "?" || encoded === "" || encoded.length > LIMIT * 4 / 3) return undefined;
  try {
    const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
