import { expect } from '@jest/globals';
import type { Line } from './agent/lines.ts';
import { eventually, type Place } from './place.ts';
import { agentPod, firstLine, linesOf, runtimeVariables, startRuntime } from './pods.ts';

/** A verdict of the runtime; `pod` minted the token. Times in milliseconds since the Unix epoch. */
type Verdict = Extract<Line, { event: 'verdict' }> & { at: number; pod: string };

/** Agents that mint and have tokens judged without a pause. */
export interface Work {
  /** Everything so far. */
  verdicts(): Promise<Verdict[]>;
  /** Waits until each agent has minted with this key and the runtime has judged it; resolves with the first verdicts. */
  sees(kid: string, seconds?: number): Promise<Verdict[]>;
  /** Waits until each agent has had so many more verdicts. */
  goesOn(count?: number): Promise<void>;
  /**
   * Nothing was refused but tokens of these keys, and no mint failed. Prints the counts, since a tier that says how much it
   * judged can be believed.
   */
  isUnrefused(what: string, revoked?: readonly string[]): Promise<void>;
}

/**
 * How an issuer is set up whose keys change within a test. Files mostly take less than a second; where they take longer than
 * `propagation` says, as after an outage, nothing may be refused either.
 */
export const shortLife = {
  ttl: { default: '10s', max: '20s' },
  rotation: { interval: '10m', verifierCacheTTL: '1s', propagation: '10s', clockSkew: '1s', grace: '5m' },
};

/**
 * Starts a runtime that trusts a Ready issuer, and two agents. Returns when each agent has proven that this runtime refuses
 * garbage and accepts what is good.
 */
export async function startWork(place: Place, issuer: string): Promise<Work> {
  const { status } = await place.issuer(issuer);
  await startRuntime(place, status?.jwksURL as string);
  const pods = [`${issuer}-one`, `${issuer}-two`];
  const agent = (pod: string) =>
    agentPod(place, issuer, pod, 'work', { env: { ...runtimeVariables, SENDER: `agent://${pod}` } });
  await place.apply(...pods.map(agent));
  for (const pod of pods) {
    const { garbage, good, tampered } = await firstLine(place, `pod/${pod}`, 'proof');
    expect({ garbage, good, tampered }).toEqual({
      garbage: 'UNAUTHENTICATED',
      good: 'accepted',
      tampered: 'UNAUTHENTICATED',
    });
  }

  const lines = async () =>
    (
      await Promise.all(
        pods.map(async (pod) => (await linesOf(place, `pod/${pod}`)).map((line) => ({ ...line, pod }))),
      )
    ).flat();
  const verdicts = async () => (await lines()).filter((line) => line.event === 'verdict') as Verdict[];
  return {
    verdicts,
    sees: (kid, seconds = 60) =>
      eventually(
        `tokens of key ${kid} of each agent`,
        async () => {
          const all = await verdicts();
          const first = pods.map((pod) => all.find((verdict) => verdict.pod === pod && verdict.kid === kid));
          if (first.every((verdict) => verdict !== undefined)) return first;
          throw new Error(JSON.stringify(pods.map((pod) => all.findLast((verdict) => verdict.pod === pod))));
        },
        seconds,
      ),
    async goesOn(count = 20) {
      const counts = async () => {
        const all = await verdicts();
        return pods.map((name) => all.filter(({ pod }) => pod === name).length);
      };
      const before = await counts();
      await eventually(`${count} more verdicts of each agent`, async () => {
        const now = await counts();
        if (now.every((number, index) => number >= (before[index] ?? 0) + count)) return true;
        throw new Error(`${before} before, ${now} now`);
      });
    },
    async isUnrefused(what, revoked = []) {
      const all = await verdicts();
      const failures = (await lines()).filter(({ event }) => event === 'failure');
      const tally: Record<string, number> = {};
      for (const { outcome, kid } of all) {
        const name = revoked.includes(kid) ? `revoked key: ${outcome}` : outcome;
        tally[name] = (tally[name] ?? 0) + 1;
      }
      const keys = new Set(all.map(({ kid }) => kid)).size;
      process.stderr.write(
        `${what}: ${keys} keys, ${JSON.stringify(tally)}, ${failures.length} mints failed\n`,
      );
      const refused = all.filter(({ outcome, kid }) => outcome !== 'accepted' && !revoked.includes(kid));
      expect(refused.slice(0, 5)).toEqual([]);
      expect(failures.slice(0, 5)).toEqual([]);
      expect(all.length).toBeGreaterThan(0);
    },
  };
}

/** The key that an issuer's agents sign with. */
export const activeKey = async (place: Place, issuer: string): Promise<string> =>
  (await place.issuer(issuer)).status?.activeKeyID as string;

/** Waits until another key is the active one; resolves with its issuer. */
export const switched = (place: Place, issuer: string, from: string, seconds = 90) =>
  eventually(
    `another active key than ${from}`,
    async () => {
      const object = await place.issuer(issuer);
      if (object.status?.activeKeyID !== from) return object;
      throw new Error(JSON.stringify(object.status?.conditions));
    },
    seconds,
  );
