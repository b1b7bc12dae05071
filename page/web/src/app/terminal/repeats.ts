// Sequences that do something so many times. xterm.js does it as often as it is
// told, so that a few bytes would freeze the page for ever.
import type { Terminal } from "@xterm/xterm";

/** What a sequence's handler of xterm.js's own gets: the numbers, which may be changed on their way to the next one. */
interface Core {
  registerCsiHandler(id: { final: string }, handler: (params: { length: number; params: Int32Array }) => boolean): void;
}

/** Scrolls, and lines put in or taken out: as many as the screen has do all that can be done. */
const lines = ["S", "T", "L", "M"];
/** Steps to tab stops. */
const stops = ["I", "Z"];

/** Has such a sequence do no more than makes a difference. */
export function boundRepeats(terminal: Terminal): void {
  const { _core: core } = terminal as unknown as { _core: Core };
  const bound = (finals: string[], most: () => number): void => {
    for (const final of finals) {
      core.registerCsiHandler({ final }, (params) => {
        if (params.length > 0) params.params[0] = Math.min(params.params[0]!, most());
        return false; // xterm.js does the rest
      });
    }
  };
  bound(lines, () => terminal.rows);
  bound(stops, () => terminal.cols);
  bound(["b"], () => terminal.rows * terminal.cols); // the last character again
}
