// Random numbers that come again: a fuzz test that fails says its seed.

/** @param {number} seed mulberry32 */
export function generator(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit) => Math.floor(next() * limit);
  return {
    below,
    pick: (list) => list[below(list.length)],
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
    /** Bytes in pieces of chance, some of them empty. */
    split(bytes) {
      const pieces = [];
      for (let at = 0; at < bytes.length;) {
        const length = below(4) === 0 ? below(3) : below(bytes.length);
        pieces.push(bytes.subarray(at, at + length));
        at += length;
      }
      return pieces;
    },
  };
}
