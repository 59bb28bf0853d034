// An agent as its developer writes one: it asks the sidecar on localhost for tokens and starts sessions of a MACP runtime
// with them. It runs in a pod, from a ConfigMap, and prints one line of JSON for each thing that happens.
//
//   mint      mint one token, print it, end
//   stay      the same, and stay
//   prove     prove that the runtime judges: garbage is refused, a good token accepted, a tampered one refused; end
//   work      the same, and then mint and have tokens judged without a pause, fresh and kept ones
import { setTimeout as sleep } from 'node:timers/promises';
import { startSession } from '../../verify/client.ts';
import type { Line } from './lines.ts';

const {
  MACP_AUTH_SERVICE_URL: service,
  RUNTIME_URL: runtime = '',
  SENDER: sender = '',
  SCOPES,
} = process.env;

const say = (line: Line) => process.stdout.write(`${JSON.stringify({ at: Date.now(), ...line })}\n`);

/** In words, with its cause: of a connection that failed, fetch says no more than that. */
const told = ({ message, cause }: Error) => (cause ? `${message}: ${cause}` : message);

async function mint(ttl_seconds?: number): Promise<string> {
  const scopes = SCOPES === undefined ? undefined : JSON.parse(SCOPES);
  const response = await fetch(`${service}/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...(sender && { sender }), ttl_seconds, scopes }),
    signal: AbortSignal.timeout(5_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  return JSON.parse(text).token;
}

const part = (token: string, index: number) =>
  JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString());

const judge = async (token: string, name = sender): Promise<string> => {
  const verdict = await startSession({ address: runtime, token, sender: name });
  return verdict === 'accepted' ? verdict : verdict.code;
};

const tampered = (token: string) => {
  const [header, , signature] = token.split('.');
  const claims = Buffer.from(JSON.stringify({ ...part(token, 1), sub: sender, exp: 9_999_999_999 }));
  return [header, claims.toString('base64url'), signature].join('.');
};

async function prove(): Promise<void> {
  // Under the name that a runtime that checks nothing would read from it: else it would be refused for its name.
  const garbage = await judge('garbage', 'garbage');
  const good = await mint();
  say({ event: 'proof', garbage, good: await judge(good), tampered: await judge(tampered(good)) });
}

interface Kept {
  token: string;
  kid: string;
  expiresAt: number;
}

async function report({ token, kid }: Kept, age: 'fresh' | 'kept'): Promise<void> {
  const outcome = await judge(token).catch((error: Error) => `ERROR ${told(error)}`);
  say({ event: 'verdict', kid, age, outcome });
}

async function work(): Promise<void> {
  let kept: Kept[] = [];
  for (let turn = 0; ; turn++) {
    try {
      const token = await mint(turn % 3 === 0 ? 3_600 : undefined);
      const fresh = { token, kid: part(token, 0).kid, expiresAt: part(token, 1).exp * 1000 };
      await report(fresh, 'fresh');
      kept.push(fresh);
    } catch (error) {
      say({ event: 'failure', problem: told(error as Error) });
    }
    // What ends while it is on its way says nothing.
    kept = kept.filter(({ expiresAt }) => expiresAt > Date.now() + 1_000);
    const old = kept[Math.floor(Math.random() * kept.length)];
    if (old) await report(old, 'kept');
    await sleep(50);
  }
}

const printToken = async () => say({ event: 'token', token: await mint() });

process.on('SIGTERM', () => process.exit(0));
try {
  const [task] = process.argv.slice(2);
  if (task === 'mint' || task === 'stay') await printToken();
  if (task === 'stay') setInterval(() => {}, 60_000);
  if (task === 'prove' || task === 'work') await prove();
  if (task === 'work') await work();
} catch (error) {
  say({ event: 'failure', problem: told(error as Error) });
  process.exitCode = 1;
}
