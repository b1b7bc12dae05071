// A relay in a page, to a server that the test plays, and what is done with it.
import { startCutter } from "./cutter.js";
import { openPage } from "./place.js";
import { startResumer } from "./resumer.js";

/** A relay in a page that notes what it is told. */
export async function connect(t, { resumer: options, cutter: plan, isCut = false, relay = {} } = {}) {
  const page = await openPage(t); // ends before the server does
  const server = await startResumer(t, options);
  const line = isCut || plan ? await startCutter(t, server, plan) : server;
  await page.run(async (page, { url, relay }) => {
    const { state } = page;
    Object.assign(state, { detached: [], resumed: [], states: [], tokens: 0 });
    const note = () => state.states.push(state.relay.state);
    state.connected = page.outcome(page.connectRelay({
      url, host: "h.example.com", port: 22, ...relay,
      token: () => `token-${state.tokens++}`,
      onDetached: (error) => {
        state.detached.push(page.told(error));
        note();
      },
      onResumed: (told) => {
        state.resumed.push(told);
        note();
      },
    }).then((relay) => {
      state.relay = relay;
      return relay.state;
    }));
    const connected = await state.connected;
    if (connected.error) throw Object.assign(new Error(connected.error.message), connected.error);
  }, { url: line.url, relay });
  return { server, page, line, session: server.last };
}

export const told = (page) => page.run(({ state: { detached, resumed, states, relay } }) => ({ detached, resumed, states, state: relay.state }));
export const isResumed = (page, count = 1) => page.run(async ({ state, until }, count) => until(() => state.resumed.length >= count), count);
export const outcomeOf = (page) => page.run((page) => page.outcome(page.state.relay.closed));
export const write = (page, text) => page.run(async ({ state, encode }, text) => {
  state.writer ??= state.relay.writable.getWriter();
  await state.writer.write(encode(text));
}, text);
export const read = (page, length) => page.run(async ({ state }, length) => {
  state.reader ??= state.relay.readable.getReader();
  let text = "";
  while (text.length < length) text += new TextDecoder().decode((await state.reader.read()).value);
  return text;
}, length);
