import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { groupExists, type Log, signalGroup, spawnTethered } from '../support/process.ts';

/** One program of the control plane. */
export interface Component {
  readonly name: string;
  readonly pid: number | undefined;
  /** Says why it is not running, when it ended without being stopped. */
  readonly failure: string | undefined;
  /** Ends it at once: none of them has anything to lose, and the API server's own shutdown takes a minute. */
  kill(): Promise<void>;
}

/** Starts a program with its output in a file. When it ends unasked, `log` says so with its last lines. */
export function startComponent(name: string, argv: string[], logFile: string, log: Log): Component {
  const output = openSync(logFile, 'a');
  const child: ChildProcess = spawnTethered(argv, { stdio: ['ignore', output, output] });
  closeSync(output);
  let stopping = false;
  let failure: string | undefined;
  const ended = new Promise<void>((resolve) => {
    const end = (reason: string) => {
      if (!stopping && !failure) {
        failure = `${name} ${reason}; the last lines of ${logFile}:\n${lastLines(logFile)}`;
        log(failure);
      }
      resolve();
    };
    child.once('error', (error) => end(`did not start: ${error.message}`));
    child.once('exit', (code, signal) => end(`ended unexpectedly with ${signal ?? `exit code ${code}`}`));
  });
  return {
    name,
    pid: child.pid,
    get failure() {
      return failure;
    },
    async kill() {
      stopping = true;
      if (child.pid && child.exitCode === null && child.signalCode === null)
        signalGroup(child.pid, 'SIGKILL');
      await ended;
      // In a node's namespaces it is a child of the program that entered them.
      while (child.pid && groupExists(child.pid)) await sleep(10);
    },
  };
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
}
