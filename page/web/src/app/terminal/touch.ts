// Fingers: xterm.js knows the wheel alone. A drag scrolls, in programs that have
// no scrollback by what the wheel would send them, and goes on when let go.
import type { Terminal } from "@xterm/xterm";

/** How much of its speed a scroll that was let go keeps each frame. */
const GLIDE = 0.95;
const STILL = 0.02; // pixels a millisecond

export function scrollByTouch(terminal: Terminal, element: HTMLElement): void {
  let y = 0, time = 0, speed = 0, rest = 0, frame = 0, isDrag = false;

  const scroll = (pixels: number): void => {
    const height = element.clientHeight / terminal.rows;
    rest += pixels / height;
    const lines = Math.trunc(rest);
    if (!lines) return;
    rest -= lines;
    if (terminal.buffer.active.type === "normal" && terminal.modes.mouseTrackingMode === "none") terminal.scrollLines(lines);
    else element.querySelector(".xterm-screen")?.dispatchEvent(new WheelEvent("wheel", { deltaY: lines, deltaMode: WheelEvent.DOM_DELTA_LINE, bubbles: true, cancelable: true }));
  };
  const glide = (): void => {
    scroll(speed * 16);
    speed *= GLIDE;
    if (Math.abs(speed) > STILL) frame = requestAnimationFrame(glide);
  };

  element.addEventListener("touchstart", (event) => {
    cancelAnimationFrame(frame);
    y = event.touches[0]!.clientY;
    time = event.timeStamp;
    speed = rest = 0;
    isDrag = false;
  }, { passive: true });
  element.addEventListener("touchmove", (event) => {
    if (event.touches.length !== 1) return;
    const touch = event.touches[0]!.clientY;
    if (!isDrag && Math.abs(y - touch) < 6) return;
    isDrag = true;
    speed = (y - touch) / Math.max(1, event.timeStamp - time);
    scroll(y - touch);
    y = touch;
    time = event.timeStamp;
    event.preventDefault();
  }, { passive: false });
  element.addEventListener("touchend", () => {
    if (isDrag) glide();
  });
}
