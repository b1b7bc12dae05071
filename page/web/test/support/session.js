// Sessions in a page: what most tests begin with.
import { startServer } from "../../../../client/js/test/support/server.js";
import { openPage } from "./browser.js";
import { startSSHD } from "./sshd.js";

/** A page, a server and an sshd. `line` is where the page reaches the server. */
export async function setup(t, { env, sshd: sshdOptions, profile, host } = {}) {
  const sshd = await startSSHD(t, sshdOptions);
  const server = await startServer(t, env);
  const page = await openPage(t, profile, host);
  return { page, sshd, server, profile, line: { url: server.ws } };
}

export const options = ({ host, port, user }, { url }) => ({ host, port, user, url });

/** Connects; the session is state.session. Tells how it looks and what was asked. */
export function connect(page, options, prompts = {}) {
  return page.run(async ({ SSHSession, prompter, state }, { options, prompts }) => {
    const asked = prompter(prompts);
    state.session = await SSHSession.connect({ ...options, prompts: asked.prompts });
    return { state: state.session.state, noted: asked.noted };
  }, { options, prompts });
}

/** A shell that is state.shell, with its output in state.out. */
export function openShell(page, size = { cols: 80, rows: 24 }) {
  return page.run(async ({ state, screen }, size) => {
    state.shell = await state.session.shell(size);
    state.out = screen(state.shell);
    await state.out.until("$ ");
  }, size);
}
