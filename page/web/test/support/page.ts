// What the code in a page has at hand: the library, and helpers.
import * as lib from "../../src/lib/index.ts";
// The same as client/js's tests have.
import * as helpers from "../../../../client/js/test/support/page.js";

const { outcome: _, told: _told, ...others } = helpers as Record<string, unknown> & { outcome: unknown; told: unknown };

/** What of an error can be sent to the test. */
const told = (error: { name?: string; message?: string; code?: string } | undefined) => ({ name: error?.name, message: error?.message, code: error?.code });

/** What a promise comes to. */
const outcome = (promise: Promise<unknown>) => promise.then((value) => ({ value }), (error) => ({ error: told(error) }));

/** A prompter that answers as it is told, and notes what it was asked. */
function prompter({ answers = {}, hostKey = "once" }: { answers?: Record<string, (string[] | null)[]>; hostKey?: lib.HostKeyAnswer }) {
  const noted = { questions: [] as lib.Question[], hostKeys: [] as lib.HostKeyQuestion[], lines: [] as string[], steps: [] as string[], banners: [] as string[] };
  const prompts: lib.Prompter = {
    ask: async (question) => {
      noted.questions.push(question);
      return answers[question.kind]?.shift() ?? null;
    },
    hostKey: async (question) => {
      noted.hostKeys.push(question);
      return hostKey;
    },
    remember: (line) => { noted.lines.push(line); },
    step: (step) => { noted.steps.push(step); },
    banner: (text) => { noted.banners.push(text); },
  };
  return { prompts, noted };
}

/** A shell's output as text, and as much as a test wants of it. */
function screen(shell: lib.Shell) {
  const decoder = new TextDecoder();
  const out = {
    text: "",
    bytes: 0,
    async until(wanted: string) {
      const deadline = Date.now() + 60_000;
      while (!out.text.includes(wanted)) {
        if (Date.now() > deadline) throw new Error(`${JSON.stringify(wanted)} did not come: ${JSON.stringify(out.text.slice(-500))}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return out.text;
    },
  };
  shell.onData = (bytes) => {
    out.bytes += bytes.length;
    out.text = (out.text + decoder.decode(bytes, { stream: true })).slice(-(64 << 10));
  };
  return out;
}

Object.assign(globalThis, { page: { ...lib, ...others, told, outcome, prompter, screen, state: {} } });
