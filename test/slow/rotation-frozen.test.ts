import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { resources } from '../../operator/cluster/resources.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import { buildTimeoutMs } from '../verify/toolchain/runtime.ts';
import { openBenchScene, refusals, say, summary } from './continuous.ts';

// As short as the CRD lets an interval be.
const spec = {
  ttl: { default: '5s', max: '5s' },
  rotation: { interval: '65s', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '10s' },
};
const intervalMs = 65_000;

describe('an agent pod whose files are frozen', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('frozen');
    bench.operator();
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  test(
    'mints good tokens through two rotations until its signUntil, then answers 503, and comes back when thawed',
    async () => {
      const scene = await openBenchScene(bench, 'keys', {
        spec,
        cacheSeconds: 1,
        pods: ['frozen', 'following'],
      });
      try {
        const { agent } = scene;
        const issuer = () => bench.issuer('keys');
        const statusOf = async (kid: string | undefined) =>
          (await issuer()).status?.keys?.find(({ keyID }) => keyID === kid);
        const mintedAt = (pod: string) =>
          agent.verdicts.filter((verdict) => verdict.pod === pod).map(({ mintedAt }) => mintedAt);

        await bench.cluster.freeze(bench.namespace, 'frozen');
        const frozenKey = (await issuer()).status?.activeKeyID as string;
        const signUntil = Date.parse((await statusOf(frozenKey))?.signUntilTime as string);
        let latest = frozenKey;
        // The last key's own interval must not be over before the first key's end has been looked at.
        const late = signUntil - 60_000;
        for (const token of ['one', 'two']) {
          if (token === 'two') await sleep(late - Date.now());
          await scene.patch({ rotation: { rotateNow: token } });
          latest = (await scene.switched(latest)).status?.activeKeyID as string;
          await agent.sees(latest);
        }
        expect(Date.now()).toBeLessThan(signUntil);
        const { nextRotationTime } = (await issuer()).status ?? {};
        expect(Date.parse(nextRotationTime as string)).toBe(
          Date.parse((await statusOf(latest))?.activeTime as string) + intervalMs,
        );

        await sleep(signUntil + 2_000 - Date.now());
        // To the last moment, and not a moment longer.
        const last = Math.max(...mintedAt('frozen'));
        expect(last).toBeGreaterThan(signUntil - 2_000);
        expect(last).toBeLessThan(signUntil);
        const failed = agent.failedMints.slice();
        expect(failed.length).toBeGreaterThan(0);
        for (const { pod, problem } of failed) {
          expect([pod, problem]).toEqual(['frozen', expect.stringMatching(/^POST \/tokens answered 503: /)]);
        }
        expect(Math.max(...mintedAt('following'))).toBeGreaterThan(signUntil + 1_000);
        const kidsOf = (pod: string) =>
          new Set(agent.verdicts.filter((verdict) => verdict.pod === pod).map(({ kid }) => kid));
        expect(kidsOf('frozen')).toEqual(new Set([frozenKey]));
        expect(kidsOf('following').size).toBe(3);
        // The agent's own Service must not lose its endpoints by it.
        const { status } = await bench.client.get(resources.pods, bench.namespace, 'frozen');
        expect((status as { conditions: object[] }).conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'True' }),
        );
        const logs = await bench.containerLogs();
        expect(logs).toMatch(/"level":"warn".*"event":"signer".*nears its signUntil/);
        expect(logs).toMatch(/"level":"error".*"event":"signer".*past its signUntil/);

        await bench.cluster.thaw(bench.namespace, 'frozen');
        await eventually('a token of the pod that was frozen', async () => {
          return Math.max(...mintedAt('frozen')) > signUntil;
        });
        const resumed = Math.min(...mintedAt('frozen').filter((at) => at > signUntil));
        expect(agent.failedMints.filter(({ at }) => at > resumed)).toEqual([]);

        // Nobody asks for the next rotation, and then the frozen key leaves.
        const due = Date.parse(nextRotationTime as string);
        const scheduled = (await scene.switched(latest)).status?.activeKeyID as string;
        const lateMs = Date.parse((await statusOf(scheduled))?.activeTime as string) - due;
        expect(lateMs).toBeGreaterThanOrEqual(2_000);
        expect(lateMs).toBeLessThan(12_000);
        const removal = Date.parse((await statusOf(frozenKey))?.removalTime as string);
        // The longest token, the verifiers' leeway and the clocks.
        expect(removal).toBe(signUntil + 5_000 + 60_000 + 1_000);
        await sleep(removal - 1_000 - Date.now());
        expect(await bench.published('keys')).toContain(frozenKey);
        await eventually(
          'the frozen key gone from the JWKS',
          async () => !(await bench.published('keys')).includes(frozenKey),
        );
        expect(Date.now()).toBeGreaterThanOrEqual(removal);

        say(
          `frozen: ${summary(agent)}; last mint ${signUntil - last} ms before signUntil, ` +
            `scheduled switch ${lateMs} ms after it was due`,
        );
        expect(refusals(agent)).toEqual([]);
        expect(scene.keys.violations).toEqual([]);
      } finally {
        await scene.close();
      }
    },
    buildTimeoutMs,
  );
});
