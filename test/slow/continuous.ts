import { setTimeout as sleep } from 'node:timers/promises';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { agentPod } from '../integration/agent-pod.ts';
import { type Bench, eventually } from '../integration/support.ts';
import { proveItJudges, type Runtime, startRuntime } from '../verify/runtime.ts';
import { mint } from '../verify/sidecar.ts';
import { type KeyWatch, type Place, watchKeys } from './key-watch.ts';
import { type Forwarder, startForwarder } from './servers.ts';

const audience = 'macp-runtime';

/** One token at one instant before the runtime. Times in milliseconds since the Unix epoch. */
export interface JudgedToken {
  kid: string;
  alg: string;
  /** Which agent pod minted it. */
  pod: string;
  /** When it was asked for. */
  mintedAt: number;
  /** When the runtime was asked, and when it had answered. */
  askedAt: number;
  judgedAt: number;
  /** `accepted`, or the code of the refusal, or `ERROR` where there was no verdict. */
  outcome: string;
  reason?: string;
}

/** A mint that gave no token. */
interface FailedMint {
  pod: string;
  at: number;
  problem: string;
}

/** An agent that mints and starts sessions all the time. */
export interface Agent {
  /** Everything so far, in order. */
  readonly verdicts: readonly JudgedToken[];
  readonly failedMints: readonly FailedMint[];
  /** How many tokens were minted. */
  minted(): number;
  /** Waits until the runtime has judged a token of this key. */
  sees(kid: string): Promise<JudgedToken>;
  stop(): Promise<void>;
}

interface LiveToken {
  token: string;
  kid: string;
  alg: string;
  pod: string;
  mintedAt: number;
  expiresAt: number;
}

/** Tokens that are kept to be judged again, at most. */
const kept = 200;

/**
 * Mints at every pod in turn, several times a second, and has each token judged at once, and one of those that are
 * still good once more, as clients that keep their tokens do. One at a time: reasons come from the runtime's log.
 */
function startAgent(runtime: Runtime, pods: Record<string, string>): Agent {
  const sender = 'agent://continuous';
  const verdicts: JudgedToken[] = [];
  const failedMints: FailedMint[] = [];
  let live: LiveToken[] = [];
  let minted = 0;
  let stopped = false;

  async function judge({ token, kid, alg, pod, mintedAt }: LiveToken): Promise<void> {
    const askedAt = Date.now();
    const { outcome, reason } = await runtime.judge({ token, sender }).then(
      (verdict) =>
        verdict.outcome === 'accepted'
          ? { outcome: 'accepted', reason: undefined }
          : { outcome: verdict.code, reason: verdict.reason ?? verdict.message },
      (error: Error) => ({ outcome: 'ERROR', reason: error.message }),
    );
    const judgedAt = Date.now();
    verdicts.push({ kid, alg, pod, mintedAt, askedAt, judgedAt, outcome, ...(reason && { reason }) });
  }

  async function round(pod: string, url: string, ttl_seconds: number | undefined): Promise<void> {
    const mintedAt = Date.now();
    try {
      const token = await mint(new URL(url).origin, { sender, ...(ttl_seconds && { ttl_seconds }) });
      const { kid = '', alg = '' } = decodeProtectedHeader(token);
      const fresh = { token, kid, alg, pod, mintedAt, expiresAt: (decodeJwt(token).exp ?? 0) * 1000 };
      minted += 1;
      await judge(fresh);
      live.push(fresh);
    } catch (error) {
      failedMints.push({ pod, at: mintedAt, problem: (error as Error).message });
    }
    // What ends while it is on its way says nothing.
    live = live.filter(({ expiresAt }) => expiresAt > Date.now() + 1_000);
    const index = Math.floor(Math.random() * live.length);
    const old = live.length > kept ? live.splice(index, 1)[0] : live[index];
    if (old) await judge(old);
  }

  const running = (async () => {
    for (let turn = 0; !stopped; turn++) {
      for (const [pod, url] of Object.entries(pods))
        await round(pod, url, turn % 3 === 0 ? 3_600 : undefined);
      await sleep(40);
    }
  })();
  return {
    verdicts,
    failedMints,
    minted: () => minted,
    sees: (kid) =>
      eventually(`a token of key ${kid}`, async () => verdicts.find((verdict) => verdict.kid === kid)),
    async stop() {
      stopped = true;
      await running;
    },
  };
}

/** The first verdicts that are not what they should be: refusals of keys that were not revoked. */
export const refusals = (agent: Agent, revoked: readonly string[] = []): JudgedToken[] =>
  agent.verdicts.filter(({ outcome, kid }) => outcome !== 'accepted' && !revoked.includes(kid)).slice(0, 5);

/** One line of numbers. */
export function summary(agent: Agent, revoked: readonly string[] = []): string {
  const count = (keep: (verdict: JudgedToken) => boolean) => agent.verdicts.filter(keep).length;
  const kids = new Set(agent.verdicts.map(({ kid }) => kid));
  const good = (kid: string) => !revoked.includes(kid);
  return [
    `${agent.minted()} tokens of ${kids.size} keys minted, ${agent.failedMints.length} mints failed`,
    `${agent.verdicts.length} verdicts`,
    `${count(({ outcome }) => outcome === 'accepted')} accepted`,
    `${count(({ outcome, kid }) => outcome === 'UNAUTHENTICATED' && good(kid))} of good keys refused`,
    `${count(({ outcome, kid }) => outcome === 'UNAUTHENTICATED' && !good(kid))} of revoked keys refused`,
    `${count(({ outcome }) => outcome === 'RATE_LIMITED')} rate limited`,
    `${count(({ outcome }) => !['accepted', 'UNAUTHENTICATED', 'RATE_LIMITED'].includes(outcome))} otherwise`,
  ].join(', ');
}

/** Prints a line where a person who runs the test sees it. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** An issuer that a runtime trusts, an agent at work, and an eye on the keys. */
export interface Scene {
  agent: Agent;
  runtime: Runtime;
  keys: KeyWatch;
  issuer(): Promise<MacpAuthIssuer>;
  /** Changes the issuer's spec as a person does, with `kubectl patch`. */
  patch(spec: object): Promise<void>;
  /** Waits until another key is the active one, and returns its issuer. */
  switched(from: string): Promise<MacpAuthIssuer>;
  close(): Promise<void>;
}

/** Sets everything going around an issuer that is ready: `pods` are the mint URLs of its agent pods by name. */
export async function openScene(
  place: Place,
  name: string,
  { pods, jwksURL, cacheSeconds }: { pods: Record<string, string>; jwksURL: string; cacheSeconds: number },
): Promise<Scene> {
  const issuer = () => place.client.get<MacpAuthIssuer>(resources.issuers, place.namespace, name);
  const runtime = await startRuntime({
    jwksURL,
    issuer: 'macp-auth-service',
    audience,
    jwksTTLSeconds: cacheSeconds,
  });
  const sender = 'agent://proof';
  try {
    const origin = new URL(Object.values(pods)[0] as string).origin;
    await proveItJudges(runtime, { token: await mint(origin, { sender }), sender });
  } catch (error) {
    await runtime.stop();
    throw error;
  }
  const keys = watchKeys(place, name);
  const agent = startAgent(runtime, pods);
  return {
    agent,
    runtime,
    keys,
    issuer,
    async patch(spec) {
      await place.kubectl.run([
        ...['patch', 'mai', name, '-n', place.namespace, '--type=merge'],
        ...['-p', JSON.stringify({ spec })],
      ]);
    },
    switched: (from) =>
      eventually(
        `another active key than ${from}`,
        async () => {
          const object = await issuer();
          if (object.status?.activeKeyID !== from) return object;
          throw new Error(JSON.stringify(object.status?.conditions));
        },
        60,
      ),
    async close() {
      await agent.stop();
      await keys.stop();
      await runtime.stop();
    },
  };
}

/** A {@link Scene} of an issuer of a bench; its runtime fetches what stands for the Service. */
export type BenchScene = Scene & { forwarder: Forwarder };

/** Applies an issuer and agent pods to a bench and opens their scene; an operator must be running. */
export async function openBenchScene(
  bench: Bench,
  name: string,
  options: { spec: object; cacheSeconds: number; pods?: readonly string[] },
): Promise<BenchScene> {
  await bench.apply(name, options.spec);
  await bench.ready(name);
  const pods: Record<string, string> = {};
  for (const pod of options.pods ?? [`${name}-one`, `${name}-two`])
    pods[pod] = await agentPod(bench, name, pod);
  const forwarder = await startForwarder(bench, name);
  const { cacheSeconds } = options;
  const scene = await openScene(bench, name, { pods, jwksURL: forwarder.url, cacheSeconds }).catch(
    async (error) => {
      await forwarder.close();
      throw error;
    },
  );
  return {
    ...scene,
    forwarder,
    async close() {
      await scene.close();
      await forwarder.close();
    },
  };
}
