import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../integration/support.ts';
import type { StartResult } from '../local/print.ts';

const root = join(import.meta.dirname, '../..');

/** An `npm start` that runs. */
export interface Started {
  stdout(): string;
  stderr(): string;
  /** Resolves with the exit code. */
  readonly exited: Promise<number | null>;
  /** The JSON line of `--json`. */
  result(): Promise<StartResult>;
  /** Signals all of it as a terminal does, and waits for its end; one that does not end is killed after 30 s. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Runs `npm start`. It ends with this process, however that ends. */
export function npmStart(...args: string[]): Started {
  // A group of its own, so that Ctrl-C can be sent as a terminal sends it.
  const npm = spawn('npm', ['start', '--silent', '--', ...args], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Its standard input closes with this process; npm's own children would outlive a kill of npm alone.
  const guard = spawn('sh', ['-c', 'cat; kill -s KILL -- "-$0"', String(npm.pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  let stdout = '';
  let stderr = '';
  npm.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  npm.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  let running = true;
  const exited = new Promise<number | null>((resolve) => {
    npm.once('exit', (code) => {
      running = false;
      guard.kill('SIGKILL');
      resolve(code);
    });
  });
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    exited,
    result: () =>
      eventually(
        'one JSON line',
        async () => {
          if (!running) throw new Error(stderr);
          return stdout.includes('\n') && (JSON.parse(stdout) as StartResult);
        },
        120,
      ),
    async end(signal) {
      const kill = (name: NodeJS.Signals) => running && process.kill(-(npm.pid as number), name);
      kill(signal);
      const timer = setTimeout(kill, 30_000, 'SIGKILL');
      await exited;
      clearTimeout(timer);
    },
  };
}

function contentOf(pid: string, file: 'cmdline' | 'environ'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

const processes = () =>
  readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid);

/** Processes whose environment or command line names a folder: everything that one `npm start` started. */
export const processesOf = (folder: string): number[] =>
  processes()
    .filter((pid) => (['cmdline', 'environ'] as const).some((file) => contentOf(pid, file).includes(folder)))
    .map(Number);

/** The process with this command line, words parted by blanks. */
export function processOf(command: string): number | undefined {
  const pid = processes().find(
    (one) => contentOf(one, 'cmdline').split('\0').join(' ').trimEnd() === command,
  );
  return pid === undefined ? undefined : Number(pid);
}
