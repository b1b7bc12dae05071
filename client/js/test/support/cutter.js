// A line between the page and a server that breaks: after so many bytes of a
// direction, wherever that is in a message, in each of the ways in which lines
// break.
import { once } from "node:events";
import net from "node:net";

/**
 * @param {{port: number}} server
 * @param {() => ({direction: "up" | "down", bytes: number, how: "fin" | "rst" | "silence"} | undefined)} [plan]
 *   of each new connection: what is to happen to it
 * @returns {Promise<{url: string, cuts: object, cut: (how: string) => number}>} ends with the test
 */
export async function startCutter(t, server, plan = () => undefined) {
  const lines = new Set();
  const cuts = { fin: 0, rst: 0, silence: 0 };
  const listener = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
    const line = { near, far, isDead: false };
    lines.add(line);
    const planned = plan();
    const cut = (how) => {
      if (line.isDead) return;
      line.isDead = true;
      cuts[how]++;
      for (const socket of [near, far]) {
        if (how === "fin") socket.end();
        else if (how === "rst") socket.resetAndDestroy();
        else socket.pause();
      }
    };
    line.cut = cut;
    join(near, far, "up");
    join(far, near, "down");
    function join(from, to, direction) {
      let left = planned?.direction === direction ? planned.bytes : Infinity;
      from.on("data", (bytes) => {
        if (line.isDead) return;
        if (!to.write(bytes.subarray(0, left))) from.pause();
        left -= bytes.length;
        if (left <= 0) cut(planned.how);
      });
      to.on("drain", () => { if (!line.isDead) from.resume(); });
      from.on("end", () => { if (!line.isDead) to.end(); });
      from.on("error", () => {}).on("close", () => {
        if (!line.isDead) to.destroy();
        if (near.destroyed && far.destroyed) lines.delete(line);
      });
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => {
    listener.close();
    for (const { near, far } of lines) {
      near.destroy();
      far.destroy();
    }
  });
  return {
    url: `ws://127.0.0.1:${listener.address().port}`,
    port: listener.address().port,
    cuts,
    /** Cuts all that are there now. */
    cut: (how) => [...lines].filter((line) => !line.isDead).map((line) => line.cut(how)).length,
  };
}
