import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalGroup, spawnTethered } from '../support/process.ts';

/** A program under test that runs and is ready. */
export type Running<Ready> = {
  /** What {@link StartOptions.ready} found. */
  ready: Ready;
  pid: number;
  /** All that the program has written so far, standard output and error in the order of arrival. */
  output(): string;
  /** Ends the program, first gently; resolves when it is gone. May be called twice. */
  stop(): Promise<void>;
};

/** How to start a program. */
export type StartOptions<Ready> = {
  /** Its name in error messages. */
  name: string;
  argv: string[];
  /** The whole environment: nothing of the caller's is inherited, so that no variable of a shell decides a test. */
  env: Record<string, string>;
  /** Looks at the output so far and returns undefined until the program is ready. */
  ready: (output: string) => Promise<Ready | undefined>;
  timeoutMs?: number;
};

/** Starts a program and waits until it is ready; nothing of it is left when that fails. */
export async function start<Ready>(options: StartOptions<Ready>): Promise<Running<Ready>> {
  const { name, argv, env, ready, timeoutMs = 20_000 } = options;
  const child = spawnTethered(argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended: string | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  }
  child.on('error', (error) => {
    ended = error.message;
  });
  // `close` rather than `exit`: the last lines that it wrote have arrived by then.
  child.on('close', (code, signal) => {
    ended ??= `it ended with ${signal ?? `exit code ${code}`}`;
  });

  const stop = async () => {
    if (ended !== undefined || !child.pid) return;
    const closed = once(child, 'close');
    signalGroup(child.pid, 'SIGTERM');
    const kill = setTimeout(signalGroup, 3_000, child.pid, 'SIGKILL');
    await closed;
    clearTimeout(kill);
  };

  const deadline = Date.now() + timeoutMs;
  try {
    for (;;) {
      if (ended !== undefined) throw new Error(`${name} did not start: ${ended}\n${output}`);
      const found = await ready(output);
      if (found !== undefined) return { ready: found, pid: child.pid ?? 0, output: () => output, stop };
      if (Date.now() > deadline) throw new Error(`${name} was not ready after ${timeoutMs} ms\n${output}`);
      await sleep(20);
    }
  } catch (error) {
    await stop();
    throw error;
  }
}
