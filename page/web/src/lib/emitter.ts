/** Events with types. A listener that throws keeps nobody else from hearing. */
export class Emitter<Events extends object> {
  #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls back at each event until the returned function is called. */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
    let all = this.#listeners.get(name);
    if (!all) this.#listeners.set(name, all = new Set());
    all.add(listener);
    return () => { all.delete(listener); };
  }

  /** @internal */
  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const listener of [...this.#listeners.get(name) ?? []]) {
      try {
        (listener as (event: Events[K]) => void)(event);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
