import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, jest } from '@jest/globals';
import { bundleFolder, type StartCommand, startCommand } from '../../../../sidecar/bundle/command.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
// The same tests are run twice: with the sources as they are, and with the bundle as it is shipped.
const program: StartCommand =
  process.env.SIDECAR_PROGRAM === 'bundle'
    ? startCommand(join(root, bundleFolder))
    : { arguments: [join(root, 'sidecar/main.ts')], environment: {} };
const running = new Set<Sidecar>();

// Generous, for machines that are busy with other things: nothing here waits longer than it must.
jest.setTimeout(60_000);

// Also when the test failed: no process outlives its test, or its file if it is shared, nor this process.
const killAll = (which: Iterable<Sidecar>) => Promise.all([...which].map((sidecar) => sidecar.kill()));
afterEach(async () => {
  await killAll([...running].filter((sidecar) => !sidecar.shared));
});
afterAll(async () => {
  await killAll(running);
});
process.on('exit', () => {
  for (const { child } of running) child.kill('SIGKILL');
});

/** How a program ended. */
export interface Ending {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A real sidecar process. */
export class Sidecar {
  readonly child: ChildProcess;
  readonly ended: Promise<Ending>;
  stdout = '';
  stderr = '';

  readonly shared: boolean;

  /**
   * Starts the program as a user does, with no variable but PATH, those given, and loopback in place of every
   * address. One that is `shared` lives until the end of the file, others until the end of the test.
   */
  constructor(variables: Record<string, string>, { shared = false } = {}) {
    this.shared = shared;
    this.child = spawn(process.execPath, program.arguments, {
      env: {
        PATH: process.env.PATH ?? '',
        ...program.environment,
        PORT: '0',
        MACP_AUTH_BIND_ADDRESS: '127.0.0.1',
        ...variables,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(this);
    this.child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        running.delete(this);
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** The lines of the log so far. */
  log(): Record<string, unknown>[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf('\n') + 1);
    return whole
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  logged(event: string): Record<string, unknown>[] {
    return this.log().filter((line) => line.event === event);
  }

  /** Waits for the log lines of `count` listeners; returns their base URLs, the mint's first. */
  async listening(count = 1): Promise<string[]> {
    const lines = await eventually(() => {
      if (this.child.exitCode !== null) throw new Fatal(`ended: ${this.stderr}`);
      const found = this.logged('listening');
      return found.length >= count ? found : undefined;
    });
    return lines.map(({ port }) => `http://127.0.0.1:${port}`);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

class Fatal extends Error {}

/** Tries until the result is neither undefined nor a failed request, at most 30 s. */
export async function eventually<T>(attempt: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 30_000;
  let last: unknown = 'nothing was found';
  while (Date.now() < deadline) {
    try {
      const result = await attempt();
      if (result !== undefined) return result;
    } catch (error) {
      // A failed expectation inside an attempt is a failed test, not a reason to look again.
      if (error instanceof Fatal || (error instanceof Error && 'matcherResult' in error)) throw error;
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within 30 s: ${last}`);
}

/** Runs the program until it ends by itself. */
export function runToEnd(variables: Record<string, string>): Promise<Ending> {
  return new Sidecar(variables).ended;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

/** One request on a connection of its own. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { ...init, headers: { connection: 'close', ...init.headers } });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

export async function mint(base: string, body: unknown): Promise<Answer> {
  return ask(`${base}/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** The header and claims of a token, not verified. */
export function decode(token: string) {
  const [header, claims] = token
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  return { header, claims };
}

/** The value of one time series of a Prometheus text, such as `name{label="x"}`. */
export function sample(metrics: string, series: string): number | undefined {
  const line = metrics.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1).replace('Inf', 'Infinity'));
}
