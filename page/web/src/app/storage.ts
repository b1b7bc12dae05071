// What the page keeps in the browser. A browser may forbid it, fill up, or hold
// what an older page wrote: then the page goes on with what it has in memory.

export interface Store {
  get(key: string): string | null;
  set(key: string, value: string): void;
}

const PREFIX = "wsproxy.";

/** localStorage, or memory where it is forbidden. */
export function browserStore(): Store {
  const memory = new Map<string, string>();
  return {
    get(key) {
      try {
        return localStorage.getItem(PREFIX + key) ?? memory.get(key) ?? null;
      } catch {
        return memory.get(key) ?? null;
      }
    },
    set(key, value) {
      memory.set(key, value);
      try {
        localStorage.setItem(PREFIX + key, value);
      } catch {
        // It lives as long as the page.
      }
    },
  };
}

/** A store that lives as long as it is held. */
export function memoryStore(): Store {
  const map = new Map<string, string>();
  return { get: (key) => map.get(key) ?? null, set: (key, value) => void map.set(key, value) };
}

export function readJSON(store: Store, key: string): unknown {
  try {
    return JSON.parse(store.get(key) ?? "null");
  } catch {
    return null;
  }
}
