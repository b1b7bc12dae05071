import assert from "node:assert/strict";
import { test } from "node:test";
import { Pulse } from "../../src/pulse.js";

/** A line whose time the test makes. */
function start(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const line = { asked: 0, isLost: false, isOwed: false, backlog: 0 };
  const pulse = new Pulse({
    ask: () => line.asked++, isOwed: () => line.isOwed, backlog: () => line.backlog, lost: () => { line.isLost = true; },
  });
  pulse.start();
  const pass = (milliseconds) => {
    for (let left = milliseconds; left > 0; left -= 50) t.mock.timers.tick(Math.min(left, 50));
    return { asked: line.asked, isLost: line.isLost };
  };
  return { line, pulse, pass };
}

test("what is not acknowledged is asked about, and lost without an answer, within five seconds", (t) => {
  const { line, pulse, pass } = start(t);
  pass(20_000);
  line.isOwed = true;
  pulse.look();
  assert.deepEqual(pass(1400), { asked: 0, isLost: false });
  assert.deepEqual(pass(200), { asked: 1, isLost: false });
  assert.deepEqual(pass(2300), { asked: 1, isLost: false });
  assert.deepEqual(pass(300), { asked: 1, isLost: true });
});

test("an answer is enough, for as long as more is owed", (t) => {
  const { line, pulse, pass } = start(t);
  line.isOwed = true;
  pulse.look();
  for (let i = 1; i < 10; i++) {
    pass(1600);
    assert.deepEqual(pass(100), { asked: i, isLost: false });
    pulse.heard();
  }
});

test("an idle line is asked every 40 seconds", (t) => {
  const { pass } = start(t);
  assert.equal(pass(39_000).asked, 0);
  assert.equal(pass(1500).asked, 1);
  assert.ok(pass(3000).isLost);
});

test("when something came, one question follows", (t) => {
  const { pulse, pass } = start(t);
  pulse.heard(true);
  assert.equal(pass(2000).asked, 1);
  pulse.heard();
  assert.deepEqual(pass(30_000), { asked: 1, isLost: false });
});

test("a question that stands behind data that goes out may take longer", (t) => {
  const { line, pulse, pass } = start(t);
  line.backlog = 100;
  pulse.ask();
  for (let i = 0; i < 5; i++) {
    line.backlog -= 10;
    assert.deepEqual(pass(2500), { asked: 1, isLost: false });
  }
  assert.ok(pass(2600).isLost);
});

test("a line that was given up in vain is given more time, until something arrives", (t) => {
  const { pulse, pass, line } = start(t);
  pulse.ask();
  assert.ok(pass(2600).isLost);
  line.isLost = false;
  pulse.start();
  pulse.ask();
  assert.ok(!pass(4900).isLost);
  assert.ok(pass(200).isLost);
  line.isLost = false;
  pulse.progressed();
  pulse.start();
  pulse.ask();
  assert.ok(pass(2600).isLost);
});

test("a page that slept asks again", (t) => {
  const { pulse, pass, line } = start(t);
  pulse.ask();
  const { now } = Date;
  Date.now = () => now() + 60_000; // the timer fires late
  t.after(() => { Date.now = now; });
  assert.deepEqual(pass(2600), { asked: 2, isLost: false });
  assert.ok(pass(2600).isLost);
  assert.equal(line.asked, 2);
});

test("several words of the browser are one question", (t) => {
  const { pulse, pass } = start(t);
  for (let i = 0; i < 10; i++) {
    pulse.ask();
    pass(300);
  }
  assert.deepEqual(pass(0), { asked: 1, isLost: true });
});
