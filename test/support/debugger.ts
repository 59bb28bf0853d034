import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { OperatorProcess } from './operator.ts';

// Of a function that V8's baseline compiler has compiled, a breakpoint set later is passed at times, on Node.js 24: 14 times of
// 100 on a busy machine, without that compiler 0 of 340. NODE_OPTIONS does not take V8's flag itself.
const noBaseline = 'import{setFlagsFromString}from"node:v8";setFlagsFromString("--no-sparkplug")';

/** Environment of a Node.js process that can be held: a free port for its debugger in place of one for all. */
export const debuggable = {
  NODE_OPTIONS: `--inspect-port=127.0.0.1:0 --import=data:text/javascript,${encodeURIComponent(noBaseline)}`,
};

const root = join(import.meta.dirname, '../..');
const patienceMs = 20_000;
const reachMs = 60_000;

/** A process that is held at a line. */
export interface Held {
  /** Resolves when it has come there; rejects when it has not within a minute. */
  reached: Promise<void>;
  /** Lets it go on; nothing stops it any more. */
  release(): void;
}

/**
 * Holds a process the next time that it comes to a line, before that is done, by its debugger
 * (https://chromedevtools.github.io/devtools-protocol/v8/Debugger/). Resolves when it cannot pass the line any more.
 *
 * @param file of the sources, from the root of the repository.
 * @param text of the whole line; it is there once.
 */
export async function holdAt(process: OperatorProcess, file: string, text: string): Promise<Held> {
  const path = join(root, file);
  const lines = readFileSync(path, 'utf8').split('\n');
  const [lineNumber, another] = lines.flatMap((line, index) => (line.trim() === text ? [index] : []));
  if (lineNumber === undefined || another !== undefined)
    throw new Error(`${file} must have one line ${text}`);

  process.signal('SIGUSR1');
  const deadline = Date.now() + patienceMs;
  let url: string | undefined;
  while (!url) {
    if (Date.now() > deadline) throw new Error(`no debugger within ${patienceMs / 1000} s`);
    await sleep(10);
    url = /^Debugger listening on (ws:\S+)$/m.exec(process.output())?.[1];
  }
  const socket = new WebSocket(url);
  const { promise: reached, resolve: reach, reject: miss } = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => miss(new Error(`${file}: ${text} not reached in ${reachMs / 1000} s`)),
    reachMs,
  );
  // Who does not wait for it has no use for that.
  reached.catch(() => {}).finally(() => clearTimeout(timer));
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('error', () => reject(new Error(`no debugger at ${url}`)));
    socket.addEventListener('open', () => {
      const params = { url: pathToFileURL(path).href, lineNumber };
      socket.send(JSON.stringify({ id: 1, method: 'Debugger.enable' }));
      socket.send(JSON.stringify({ id: 2, method: 'Debugger.setBreakpointByUrl', params }));
    });
    socket.addEventListener('message', ({ data }) => {
      const { id, method, result } = JSON.parse(data);
      if (method === 'Debugger.paused') reach();
      if (id !== 2) return;
      if (result?.locations?.length === 1) resolve();
      else reject(new Error(`${file}: ${text} is not in the process: ${data}`));
    });
  });
  // Without its debugger it goes on.
  return { reached, release: () => socket.close() };
}
