import { setTimeout as sleep } from 'node:timers/promises';
import { type Refusal, type Session, startSession } from './client.ts';
import { start } from './process.ts';
import { ensureRuntime } from './toolchain/runtime.ts';

/** What the runtime is told about tokens. */
export type RuntimeOptions = {
  /** Where it fetches the keys, over plain http. */
  jwksURL: string;
  issuer: string;
  audience: string;
  /** How long it keeps fetched keys; its own default is 300. */
  jwksTTLSeconds?: number;
  /** More of its environment variables. */
  env?: Record<string, string>;
  /** The binary; by default {@link ensureRuntime} finds or builds it, which takes minutes the first time. */
  binary?: string;
};

/** What became of an attempt to start a session. */
type Verdict =
  | { outcome: 'accepted' }
  | (Refusal & {
      outcome: 'refused';
      /** Why the credential was rejected, from the runtime's log; the client is never told. */
      reason?: string;
    });

/** A MACP runtime that runs. */
export type Runtime = {
  /** Base URL of its HTTP/JSON binding. */
  address: string;
  pid: number;
  output(): string;
  stop(): Promise<void>;
  /** Starts a session and says what the runtime decided and why. One at a time, or reasons get mixed up. */
  judge(session: Omit<Session, 'address'>): Promise<Verdict>;
};

const bound = /HTTP listener bound .* addr=(\S+)/;
const rejected = /auth resolver rejected credential .*? error=(.*)/;

/**
 * Starts the published MACP runtime on a free port of the loopback interface, with its sessions in memory.
 * Whoever uses it calls {@link proveItJudges} first.
 */
export async function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { jwksURL, issuer, audience, jwksTTLSeconds = 300, env = {} } = options;
  const binary = options.binary ?? (await ensureRuntime());
  const running = await start({
    name: 'macp-runtime',
    argv: [binary],
    env: {
      MACP_AUTH_JWKS_URL: jwksURL,
      MACP_AUTH_ISSUER: issuer,
      MACP_AUTH_AUDIENCE: audience,
      MACP_AUTH_JWKS_TTL_SECS: String(jwksTTLSeconds),
      MACP_ALLOW_INSECURE: '1',
      MACP_MEMORY_ONLY: '1',
      // Port 0: the kernel picks free ones, and no other test can take them in between.
      MACP_BIND_ADDR: '127.0.0.1:0',
      MACP_HTTP_BIND_ADDR: '127.0.0.1:0',
      // Its limits for each sender would refuse a test that is merely quick.
      MACP_SESSION_START_LIMIT_PER_MINUTE: '1000000',
      MACP_MESSAGE_LIMIT_PER_MINUTE: '1000000',
      RUST_LOG: 'info',
      NO_COLOR: '1',
      ...env,
    },
    ready: async (output) => {
      const address = bound.exec(output)?.[1];
      // The port is bound before it is served: it is ready when it answers.
      return address && (await answers(`http://${address}`)) ? `http://${address}` : undefined;
    },
  });
  const { ready: address, pid, output, stop } = running;

  const judge = async (session: Omit<Session, 'address'>): Promise<Verdict> => {
    const before = output().length;
    const verdict = await startSession({ address, ...session });
    if (verdict === 'accepted') return { outcome: 'accepted' };
    // The log line is written before the answer but may arrive after it. A refusal that is not about the
    // credential (FORBIDDEN, say) has none.
    for (let tries = 0; verdict.code === 'UNAUTHENTICATED' && tries < 25; tries++) {
      const reason = rejected.exec(output().slice(before))?.[1];
      if (reason !== undefined) return { outcome: 'refused', ...verdict, reason };
      await sleep(10);
    }
    return { outcome: 'refused', ...verdict };
  };
  return { address, pid, output, stop, judge };
}

/**
 * Proves that this very process judges tokens: garbage is refused, a good one accepted. A runtime without an
 * issuer (its variable misspelt, say) takes any token for the name of its sender, and one that can't fetch its
 * keys refuses everything: a suite could pass with either and prove nothing.
 */
export async function proveItJudges(
  runtime: Runtime,
  good: { token: string; sender: string },
): Promise<void> {
  const [header, payload] = good.token.split('.');
  for (const token of ['garbage', 'gar.ba.ge', `${header}.${payload}.${'A'.repeat(86)}`]) {
    // Sent under the very name that a runtime without an issuer would read from it; under any other name it would
    // be refused there too, for the name.
    const verdict = await runtime.judge({ token, sender: token });
    if (verdict.outcome !== 'refused' || verdict.code !== 'UNAUTHENTICATED') {
      throw new Error(
        `the runtime checks no tokens: garbage got ${JSON.stringify(verdict)}\n${runtime.output()}`,
      );
    }
  }
  const verdict = await runtime.judge(good);
  if (verdict.outcome !== 'accepted') {
    throw new Error(`the runtime refuses a good token: ${JSON.stringify(verdict)}\n${runtime.output()}`);
  }
}

async function answers(address: string): Promise<boolean> {
  try {
    const response = await fetch(`${address}/.well-known/macp.json`, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
