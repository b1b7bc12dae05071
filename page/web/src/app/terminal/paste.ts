// Text that is pasted must not act as keys: an escape in it could end the
// bracket early and have the rest run as commands.

/** Text as it may be pasted: line ends as a terminal has them, no control characters but tab. */
export function pasteable(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/g, "");
}

/** Whether a paste would run more than a line by itself: nothing brackets it, and it has line ends. */
export function runsByItself(text: string, bracketed: boolean): boolean {
  return !bracketed && /\n[^\n]/.test(text);
}
