/**
 * What a browser says of the page and its network. Workers get less of it, and
 * Node nothing.
 *
 * @param {object} told
 * @param {() => void} told.woke the page is seen, or goes on, again: what was open may be gone
 * @param {() => void} told.moved the network has changed
 * @param {(isKept: boolean) => void} told.left the page goes, into the back/forward cache if it is kept
 * @returns {() => void} ends it
 */
export function watchPage({ woke, moved, left }) {
  const { document, navigator } = globalThis;
  const network = navigator?.connection; // its change says that an estimate of its speed is another one, too
  let type = network?.type;
  const networkChanged = () => {
    if (network.type === type) return;
    type = network.type;
    moved();
  };
  const events = [
    [globalThis, "online", moved],
    [globalThis, "pageshow", ({ persisted }) => { if (persisted) woke(); }],
    [globalThis, "pagehide", ({ persisted }) => left(persisted)],
    [document, "visibilitychange", () => { if (document.visibilityState === "visible") woke(); }],
    [document, "resume", woke],
    [network, "change", networkChanged],
  ].filter(([target]) => typeof target?.addEventListener === "function");
  for (const [target, type, listener] of events) target.addEventListener(type, listener);
  return () => {
    for (const [target, type, listener] of events) target.removeEventListener(type, listener);
  };
}
