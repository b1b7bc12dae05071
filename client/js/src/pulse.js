/**
 * Milliseconds without a word after which the other side is asked, when it owes
 * one: an acknowledgement comes a second after what it acknowledges, at the latest.
 */
const quiet = 1500;
/** The same when it owes none. The server asks every PING_INTERVAL, 30 s unless configured otherwise. */
const idle = 40_000;
/** Milliseconds that the answer may take; with `quiet` and a new handshake they are within five seconds. */
const patience = 2500;
/** The same on a line where that was too short several times. */
const mostPatience = 20_000;
/** By how much a timer may be late before it says nothing about the line: the page was asleep. */
const slack = 1000;

/**
 * Finds out whether a WebSocket that looks open still leads anywhere. After a
 * change of network it may look so for many minutes.
 */
export class Pulse {
  #owner;
  #timer;
  #due; // when the timer is to fire
  #heardAt;
  #asked; // what waited in the WebSocket when the other side was asked, or undefined
  #isCurious = false; // something came since it was asked last: more may be missing
  #patience = patience;

  /**
   * @param {{ask: () => void, isOwed: () => boolean, backlog: () => number, lost: () => void}} owner
   *   asks the other side; says whether it owes a word, and how many bytes wait in the WebSocket; is told that nothing came
   */
  constructor(owner) {
    this.#owner = owner;
  }

  /** There is a new WebSocket. */
  start() {
    this.#isCurious = false;
    this.heard();
    this.#arm(this.#pause());
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {boolean} [isData] whether it was more than an answer */
  heard(isData = false) {
    this.#heardAt = Date.now();
    if (this.#asked !== undefined) {
      this.#asked = undefined;
      if (this.#timer !== undefined) this.#arm(this.#pause());
    }
    if (!isData || this.#isCurious) return;
    this.#isCurious = true;
    this.look();
  }

  /** What was sent has arrived: the line is as fast as it has to be. */
  progressed() {
    this.#patience = patience;
  }

  /** Something has changed: looks earlier, if need be. */
  look() {
    if (this.#timer !== undefined && this.#due - Date.now() > quiet) this.#arm(quiet);
  }

  /** Asks now, because the page woke up or the network has changed. */
  ask() {
    if (this.#timer !== undefined && this.#asked === undefined) this.#ask();
  }

  #ask() {
    this.#isCurious = false;
    this.#asked = this.#owner.backlog();
    this.#owner.ask();
    this.#arm(this.#patience);
  }

  #pause() {
    const longest = this.#isCurious || this.#owner.isOwed() ? quiet : idle;
    return Math.max(this.#heardAt + longest - Date.now(), 0);
  }

  #arm(milliseconds) {
    clearTimeout(this.#timer);
    const pause = Math.min(milliseconds, idle); // the clock may have been set
    this.#due = Date.now() + pause;
    this.#timer = setTimeout(() => this.#check(), pause);
  }

  #check() {
    const isLate = Date.now() - this.#due > slack;
    const backlog = this.#owner.backlog();
    if (this.#asked === undefined) {
      const pause = this.#pause();
      if (pause > 0) this.#arm(Math.max(pause, 50));
      else this.#ask();
    } else if (isLate) {
      this.#ask();
    } else if (backlog < this.#asked) { // the question stands behind data that goes out
      this.#asked = backlog;
      this.#arm(this.#patience);
    } else {
      this.#patience = Math.min(2 * this.#patience, mostPatience);
      this.stop();
      this.#owner.lost();
    }
  }
}
