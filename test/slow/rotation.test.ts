import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import type { OperatorProcess } from '../support/operator.ts';
import { buildTimeoutMs } from '../verify/toolchain/runtime.ts';
import { type BenchScene, openBenchScene, refusals, say, summary } from './continuous.ts';

const cacheMs = 2_000;
const propagationMs = 2_000;
const spec = {
  ttl: { default: '10s', max: '30s' },
  rotation: {
    interval: '10m',
    verifierCacheTTL: `${cacheMs}ms`,
    propagation: `${propagationMs}ms`,
    clockSkew: '1s',
    grace: '5m',
  },
};
const ripeningMs = cacheMs + 1_000;
const rotations = 20;

describe('an agent that never pauses', () => {
  let bench: Bench;
  let scene: BenchScene;
  let operator: OperatorProcess;
  const revoked: string[] = [];

  beforeAll(async () => {
    bench = await openBench('rotation');
    operator = bench.operator();
    scene = await openBenchScene(bench, 'keys', { spec, cacheSeconds: cacheMs / 1000 });
  }, buildTimeoutMs);
  afterAll(async () => {
    await scene?.close();
    await bench?.close();
  }, 60_000);

  const issuer = () => bench.issuer('keys');
  const active = async () => (await issuer()).status?.activeKeyID as string;
  const rotation = async () =>
    (await issuer()).status?.conditions?.find(({ type }) => type === 'RotationOnTime');

  /** Asks for a rotation, and returns the key that took over, once a token of it was judged. */
  async function rotate(token: string): Promise<string> {
    const before = await active();
    await scene.patch({ rotation: { rotateNow: token } });
    const kid = (await scene.switched(before)).status?.activeKeyID as string;
    await scene.agent.sees(kid);
    return kid;
  }

  /** Asks for rotations until the operator could be killed before the switch that it had committed; returns that switch. */
  async function killBetween(token: string): Promise<{ kid: string; at: number; activeTime: string }> {
    for (let attempt = 0; attempt < 5; attempt++) {
      const before = await active();
      await scene.patch({ rotation: { rotateNow: `${token}-${attempt}` } });
      await eventually(
        'a committed switch',
        async () => (await active()) !== before || (await rotation())?.reason === 'SwitchCommitted',
        60,
      );
      operator.signal('SIGKILL');
      await operator.ended;
      const next = (await issuer()).status?.keys?.find((key) => key.state === 'Next' && key.activeTime);
      if (next && Date.parse(next.activeTime as string) > Date.now() + 100) {
        const activeTime = next.activeTime as string;
        return { kid: next.keyID, at: Date.parse(activeTime), activeTime };
      }
      operator = bench.operator();
    }
    throw new Error('the machine is too slow: every switch was over before the operator was dead');
  }

  const activeTimeOf = async (kid: string) =>
    (await issuer()).status?.keys?.find(({ keyID }) => keyID === kid)?.activeTime;

  const unrefused = () => {
    expect(refusals(scene.agent, revoked)).toEqual([]);
    expect(scene.agent.failedMints).toEqual([]);
    expect(scene.keys.violations).toEqual([]);
  };

  test(`is never refused through ${rotations} rotations`, async () => {
    const seen = new Set([await active()]);
    const begun = Date.now();
    for (let i = 0; i < rotations; i++) seen.add(await rotate(`round-${i}`));
    expect(seen.size).toBe(rotations + 1);
    const seconds = ((Date.now() - begun) / 1000).toFixed(0);
    say(`${rotations} rotations in ${seconds} s: ${summary(scene.agent)}`);
    unrefused();
    // Several a second, or there was nothing to refuse.
    expect(scene.agent.minted()).toBeGreaterThan((3 * (Date.now() - begun)) / 1000);
  }, 240_000);

  test('nor when the algorithm changes', async () => {
    const before = await active();
    await scene.patch({ algorithm: 'RS256' });
    const { status } = await scene.switched(before);
    expect((await scene.agent.sees(status?.activeKeyID as string)).alg).toBe('RS256');
    await eventually('spares of the new algorithm only', async () => {
      const next = (await issuer()).status?.keys?.filter(({ state }) => state === 'Next');
      return next?.length === 2 && next.every(({ algorithm }) => algorithm === 'RS256');
    });
    unrefused();
  }, 120_000);

  test('nor when the operator is killed between decision and switch, and started again at once', async () => {
    const { kid, activeTime } = await killBetween('killed');
    operator = bench.operator();
    await eventually('the switch', async () => (await active()) === kid, 30);
    expect(await activeTimeOf(kid)).toBe(activeTime);
    await scene.agent.sees(kid);
    unrefused();
  }, 120_000);

  test('nor when it stays dead: the sidecars switch by their own clocks', async () => {
    const { kid, at, activeTime } = await killBetween('dead');
    const first = await scene.agent.sees(kid);
    expect(first.askedAt).toBeGreaterThanOrEqual(at);
    await sleep(2_000);
    operator = bench.operator();
    await eventually('status about it', async () => (await active()) === kid, 30);
    expect(await activeTimeOf(kid)).toBe(activeTime);
    unrefused();
  }, 120_000);

  test('and when its key is revoked right after a switch, the next one is accepted at once', async () => {
    const secret = objectNames({ namespace: bench.namespace, name: 'keys' }).keyring;
    await eventually('both spares ripe', async () => {
      const data = (await bench.secret(secret))?.data as Record<string, string>;
      const { keys } = JSON.parse(Buffer.from(data['keyring.json'] as string, 'base64').toString()) as {
        keys: { servedSince?: string; activateAt?: string }[];
      };
      const spares = keys.filter(({ activateAt }) => activateAt === undefined);
      return spares.every(({ servedSince }) => Date.parse(servedSince ?? '') + ripeningMs < Date.now());
    });
    const before = await active();
    await scene.patch({ rotation: { rotateNow: 'leak' } });
    const leaked = (await scene.switched(before)).status?.activeKeyID as string;
    revoked.push(leaked);
    await scene.patch({ rotation: { revokedKeyIDs: [leaked] } });
    const { status } = await scene.switched(leaked);
    const promoted = status?.activeKeyID as string;
    const record = status?.keys?.find(({ keyID }) => keyID === leaked);
    expect(record?.state).toBe('Revoked');
    const revokedAt = Date.parse(record?.removalTime as string);
    const safeAt = Date.parse(record?.revokedSafeTime as string);
    expect(safeAt - revokedAt).toBeGreaterThanOrEqual(cacheMs);
    expect(Date.parse(record?.revokedSafeAtWorstTime as string) - safeAt).toBe(3_600_000);
    expect(status?.keys?.find(({ keyID }) => keyID === promoted)).not.toHaveProperty('acceptedFromTime');

    await scene.agent.sees(promoted);
    await sleep(safeAt + propagationMs + 4_000 - Date.now());
    unrefused();
    const ofLeaked = scene.agent.verdicts.filter(({ kid }) => kid === leaked);
    const lastAccepted = Math.max(
      ...ofLeaked.filter(({ outcome }) => outcome === 'accepted').map(({ askedAt }) => askedAt),
    );
    const refused = ofLeaked.filter(({ outcome }) => outcome !== 'accepted');
    expect(new Set(refused.map(({ outcome }) => outcome))).toEqual(new Set(['UNAUTHENTICATED']));
    // One cache time after the last server pod had let go of it, which takes a written file at most `propagation`.
    const served = scene.forwarder.fetches.filter(({ kids }) => kids.includes(leaked)).map(({ at }) => at);
    expect(lastAccepted).toBeLessThan(Math.max(...served) + cacheMs + 500);
    expect(lastAccepted).toBeLessThan(safeAt + propagationMs);
    const ofPromoted = scene.agent.verdicts.filter(({ kid }) => kid === promoted);
    say(
      `revoked at 0 ms: last accepted at ${lastAccepted - revokedAt} ms (safe at ${safeAt - revokedAt}), ` +
        `${refused.length} refused; first token of the promoted key after ` +
        `${Math.min(...ofPromoted.map(({ mintedAt }) => mintedAt)) - revokedAt} ms, ${ofPromoted.length} verdicts`,
    );
    say(`in all: ${summary(scene.agent, revoked)}, ${scene.keys.looks()} looks at the keys`);
  }, 120_000);
});
