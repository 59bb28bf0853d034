import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startCommand } from './command.ts';

const limitMilliseconds = 60_000;

/**
 * Runs a fresh bundle once, from its start over a mint to its end, and keeps what V8 compiled until then: later starts
 * compile none of it again. Not over a scrape, since what a scrape compiles depends on chance (collections of garbage).
 *
 * @param folder where the bundle is, and where the compiled code will be.
 */
export async function warm(folder: string): Promise<void> {
  const { arguments: words, environment } = startCommand(folder);
  const program = [join(import.meta.dirname, 'record.ts'), folder];
  // Or two builds of the same would differ: order and hashes in what is kept depend on it. V8 asks nobody to have the same.
  const child = spawn(process.execPath, ['--random-seed=1', ...words.slice(0, -1), ...program], {
    env: {
      ...environment,
      PORT: '0',
      MACP_AUTH_BIND_ADDRESS: '127.0.0.1',
      MACP_AUTH_HEALTH_PORT: '0',
      MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
      MACP_AUTH_SIGNING_ALG: 'ES256',
    },
    // Pipes both, since it runs other code for a file or a terminal.
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMilliseconds,
  });
  child.stderr.pipe(process.stderr);
  const closed = once(child, 'close');
  try {
    const ended = once(child, 'exit');
    const [mint, health] = await ports(child);
    const body = JSON.stringify({ sender: 'agent://warm-up', scopes: {}, ttl_seconds: 60 });
    const headers = { 'content-type': 'application/json' };
    await ask(`http://127.0.0.1:${mint}/tokens`, { method: 'POST', headers, body });
    await ask(`http://127.0.0.1:${mint}/.well-known/jwks.json`);
    await ask(`http://127.0.0.1:${health}/readyz`);
    child.kill('SIGTERM');
    const [code] = await ended;
    if (code !== 0) throw new Error(`the bundle ended with ${code}`);
  } finally {
    // A build that fails leaves no process.
    child.kill('SIGKILL');
    // Until then its last words are not out.
    await closed;
  }
}

/** The ports of both listeners, out of the log. */
async function ports({ stdout }: ChildProcess): Promise<number[]> {
  const found: number[] = [];
  if (stdout === null) return found;
  for await (const line of createInterface(stdout)) {
    const { event, port } = JSON.parse(line);
    if (event === 'listening') found.push(port);
    if (found.length === 2) break;
  }
  if (found.length < 2) throw new Error('the bundle did not start');
  // What it says from now on, so that it never waits for a reader.
  stdout.resume();
  return found;
}

async function ask(url: string, init: RequestInit = {}): Promise<void> {
  const response = await fetch(url, { ...init, headers: { connection: 'close', ...init.headers } });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  await response.arrayBuffer();
}
