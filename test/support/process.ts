import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

/** Takes one line of progress. */
export type Log = (line: string) => void;

/**
 * What a command begins with that is to leave neither a process nor a mount when it is killed: all of it ends with its
 * namespaces (unshare(1)).
 */
export const inOwnNamespaces = [
  'unshare',
  ...['--mount', '--propagation', 'private'],
  ...['--pid', '--fork', '--kill-child', '--mount-proc'],
];

/** How many files a process of ours may have open, as a limit that its children can be given. */
export function maxOpenFiles(): number {
  const [, hard] = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  if (!hard) throw new Error('/proc/self/limits does not say how many files may be open');
  return Number(hard);
}

/** The full path of a program, or undefined when PATH does not have it. */
export function which(program: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {}
  }
  return undefined;
}

/** The full path of a util-linux program, which every Linux distribution has; elsewhere an error that says so. */
export function requireLinuxTool(program: 'setpriv' | 'flock' | 'nsenter'): string {
  if (process.platform !== 'linux') {
    throw new Error(
      `the test cluster runs on Linux only (this is ${process.platform}): use a Linux machine or VM`,
    );
  }
  const file = which(program);
  if (!file)
    throw new Error(`${program} is not on PATH: install util-linux (Debian: apt-get install util-linux)`);
  return file;
}

/**
 * Spawns a program that the kernel kills when this process ends, however it ends: a test runner that gets SIGKILL
 * leaves nothing behind. The program leads a process group of its own, so that Ctrl-C reaches only the owner, which
 * then stops its children in order.
 */
export function spawnTethered(argv: string[], options: SpawnOptions): ChildProcess {
  const setpriv = requireLinuxTool('setpriv');
  const child = spawn(setpriv, ['--pdeathsig', 'KILL', '--', ...argv], { ...options, detached: true });
  const priority = getPriority();
  if (priority > 0 && child.pid) keepPriority(child.pid, priority);
  return child;
}

// Kernels with autogroups weigh sessions against each other, and what a process of one inherits counts inside it only.
function keepPriority(pid: number, priority: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(priority));
  } catch {
    // Without autogroups what it inherits is enough, and who has ended needs none.
  }
}

/** Sends a signal to every process of a group; a group that is gone already is fine. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  // 0 would be the own group: it stands for a process that could not be spawned.
  if (!pid) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether any process of a group is left. */
export function groupExists(pid: number): boolean {
  try {
    process.kill(-pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Runs a program to its end, with `input` (a text, or a file that is open) as its standard input. Resolves with what it
 * printed, without the last line break; rejects with what it printed to stderr, after `label`.
 */
export async function runForOutput(
  argv: string[],
  options: { label: string; input?: string | number },
): Promise<string> {
  const { input } = options;
  const stdin = typeof input === 'string' ? 'pipe' : (input ?? 'ignore');
  const child = spawnTethered(argv, { stdio: [stdin, 'pipe', 'pipe'] });
  // One that ended before it has read all says itself what was wrong.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  const [out, problem, code] = await Promise.all([
    text(child.stdout as Readable),
    text(child.stderr as Readable),
    ended,
  ]);
  if (code !== 0) throw new Error(`${options.label}: ${problem.trim()}`);
  return out.trimEnd();
}

/**
 * Runs a build tool to its end. Its output lines are counted, not shown: `log` gets a line of progress every 15 s,
 * and the error of a failed run carries the last lines.
 */
export async function runWithProgress(
  argv: string[],
  options: { label: string; unit: string; log: Log; cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<void> {
  const begin = Date.now();
  let lines = 0;
  let tail = '';
  const child = spawnTethered(argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd && { cwd: options.cwd }),
    ...(options.env && { env: options.env }),
  });
  const collect = (chunk: Buffer) => {
    const text = chunk.toString();
    lines += text.split('\n').length - 1;
    tail = (tail + text).slice(-4000);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  const seconds = () => Math.round((Date.now() - begin) / 1000);
  const ticker = setInterval(
    () => options.log(`${options.label}: ${seconds()} s, ${lines} ${options.unit}`),
    15_000,
  );
  try {
    const code = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? signal));
    });
    if (code !== 0) throw new Error(`${options.label}: ${argv[0]} ended with ${code}\n${tail.trimEnd()}`);
    options.log(`${options.label}: done after ${seconds()} s`);
  } finally {
    clearInterval(ticker);
    if (child.pid) signalGroup(child.pid, 'SIGKILL');
  }
}
