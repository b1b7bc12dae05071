// The page's own keys: few, and none that a shell or an editor is likely to want.

export interface Actions {
  copy(): boolean;
  search(): void;
  larger(by: number): void;
  step(by: number): void;
  leave(): void;
}

/** True if the key was the page's. */
export function takeShortcut(event: KeyboardEvent, actions: Actions): boolean {
  const { ctrlKey: ctrl, shiftKey: shift, altKey: alt, metaKey: meta, code } = event;
  const take = (action: () => void): boolean => {
    event.preventDefault();
    event.stopPropagation();
    action();
    return true;
  };
  if (ctrl && shift && !alt && !meta) {
    if (code === "KeyC") return take(actions.copy);
    // The browser pastes itself if the terminal leaves the key alone.
    if (code === "KeyV") return true;
    if (code === "KeyF") return take(actions.search);
    if (code === "Equal" || code === "NumpadAdd") return take(() => actions.larger(1));
    if (code === "Minus" || code === "NumpadSubtract") return take(() => actions.larger(-1));
  }
  if (ctrl && !shift && !alt && code === "Insert") return take(actions.copy);
  if (shift && !ctrl && !alt && code === "Insert") return true;
  if (meta && !ctrl && code === "KeyF") return take(actions.search);
  if (alt && !ctrl && !shift && (code === "PageUp" || code === "PageDown")) return take(() => actions.step(code === "PageUp" ? -1 : 1));
  if (shift && !ctrl && !alt && code === "F6") return take(actions.leave);
  return false;
}
