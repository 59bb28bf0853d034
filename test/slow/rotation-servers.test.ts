import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import { buildTimeoutMs } from '../verify/toolchain/runtime.ts';
import { type BenchScene, openBenchScene, refusals, say, summary } from './continuous.ts';
import { servedBy, serverPods } from './servers.ts';

const rotationSpec = {
  interval: '10m',
  verifierCacheTTL: '1s',
  propagation: '2s',
  clockSkew: '1s',
  grace: '5m',
};
const ttl = { default: '10s', max: '20s' };

describe('server pods whose files are frozen', () => {
  let bench: Bench;
  let scene: BenchScene;

  beforeAll(async () => {
    bench = await openBench('servers');
    bench.operator();
    scene = await openBenchScene(bench, 'keys', { spec: { ttl, rotation: rotationSpec }, cacheSeconds: 1 });
  }, buildTimeoutMs);
  afterAll(async () => {
    await scene?.close();
    await bench?.close();
  }, 60_000);

  const keys = async () => (await scene.issuer()).status?.keys ?? [];
  const active = async () => (await scene.issuer()).status?.activeKeyID as string;
  const condition = async (type: string) =>
    (await scene.issuer()).status?.conditions?.find((candidate) => candidate.type === type);

  test('hold up the first key that they do not serve, for as long as one of them does not', async () => {
    const pods = await serverPods(bench, 'keys');
    expect(pods).toHaveLength(2);
    await eventually('settled', async () => (await condition('Published'))?.reason === 'AllServersCurrent');
    const names = pods.map(({ metadata }) => metadata.name) as [string, string];
    for (const name of names) await bench.cluster.freeze(bench.namespace, name);
    const served = new Set(await servedBy(pods[0] as (typeof pods)[0]));

    // Both spares are known to verifiers already; the one after them is not.
    let latest = await active();
    for (const token of ['one', 'two']) {
      await scene.patch({ rotation: { rotateNow: token } });
      latest = (await scene.switched(latest)).status?.activeKeyID as string;
      expect(served).toContain(latest);
      await scene.agent.sees(latest);
    }
    await scene.patch({ rotation: { rotateNow: 'three' } });
    const waits = async () => {
      const found = await condition('RotationOnTime');
      return found?.reason === 'WaitingForServers' && found;
    };
    const waiting = await eventually('a condition that says so', waits);
    expect(waiting).toMatchObject({ status: 'False', message: expect.stringContaining('server pod') });
    const stays = async (seconds: number) => {
      for (const until = Date.now() + seconds * 1000; Date.now() < until; await sleep(300)) {
        expect(await waits()).toBeTruthy();
        expect(await active()).toBe(latest);
        expect((await bench.agentFiles('keys')).keys.map(({ kid }) => kid)).toContain(latest);
        expect((await keys()).filter(({ state, activeTime }) => state === 'Next' && activeTime)).toEqual([]);
      }
      expect((await bench.agentFiles('keys')).keys.map(({ kid }) => kid)).toEqual([latest]);
    };
    await stays(8);
    await bench.cluster.thaw(bench.namespace, names[0]);
    await stays(6);
    await bench.cluster.thaw(bench.namespace, names[1]);
    const next = (await scene.switched(latest)).status?.activeKeyID as string;
    expect(served).not.toContain(next);
    await scene.agent.sees(next);
    say(`frozen servers: ${summary(scene.agent)}`);
    expect(refusals(scene.agent)).toEqual([]);
    expect(scene.agent.failedMints).toEqual([]);
    expect(scene.keys.violations).toEqual([]);
  }, 120_000);

  // Nothing else is missing there: a revoked spare would be replaced by a new one, which the frozen pod lacks.
  test('are not called current, and a revoked key is not called safe, while one of them still serves it', async () => {
    const pods = await serverPods(bench, 'keys');
    await eventually('settled', async () => (await condition('Published'))?.reason === 'AllServersCurrent');
    const [stale] = pods as [(typeof pods)[0]];
    await bench.cluster.freeze(bench.namespace, stale.metadata.name);
    const retired = (await keys()).find(({ state }) => state === 'Retired')?.keyID as string;
    await scene.patch({ rotation: { revokedKeyIDs: [retired] } });
    const recordOf = async () =>
      (await keys()).find(({ keyID, state }) => keyID === retired && state === 'Revoked');
    const record = await eventually('the revocation', recordOf);
    const removed = Date.parse(record.removalTime as string);
    await eventually('a condition that says so', async () => {
      const published = await condition('Published');
      if (published?.status === 'False' && published.message.includes(retired)) return true;
      throw new Error(JSON.stringify(published));
    });
    await sleep(removed + 6_000 - Date.now());
    expect(await servedBy(stale)).toContain(retired);
    // A verifier that fetches it there now has it for another cache time.
    const safe = Date.parse((await recordOf())?.revokedSafeTime ?? '');
    if (!Number.isNaN(safe)) expect(safe).toBeGreaterThan(Date.now());
    await bench.cluster.thaw(bench.namespace, stale.metadata.name);
    await eventually('current again', async () => (await condition('Published'))?.status === 'True');
    expect(await servedBy(stale)).not.toContain(retired);
    expect(refusals(scene.agent, [retired])).toEqual([]);
    expect(scene.keys.violations).toEqual([]);
  }, 60_000);
});
