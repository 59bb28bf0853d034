import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { resources } from '../../operator/cluster/resources.ts';
import {
  type Candidate,
  inShort,
  leading,
  leaseName,
  readLeaseSpec,
  startCandidate,
} from '../integration/candidates.ts';
import { operatorNamespace } from '../integration/policy-cluster.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import { debuggable, holdAt } from '../support/debugger.ts';

/** Issuers that are begun when their operator is paused: more than it works on at a time. */
const many = Array.from({ length: 12 }, (_, i) => `paused-${i}`);

describe('of two operators with the shipped permissions', () => {
  let bench: Bench;
  let leader: Candidate;
  let standby: Candidate;

  beforeAll(async () => {
    bench = await openBench('leader');
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);
  beforeEach(async () => {
    const lease = ['lease', leaseName, '-n', operatorNamespace];
    await bench.kubectl.run(['delete', ...lease, '--ignore-not-found']);
    leader = await startCandidate(bench, operatorNamespace, debuggable);
    await leading(leader);
    standby = await startCandidate(bench, operatorNamespace);
    await eventually('another that stands by', async () => standby.process.output().includes('standing by'));
  }, 60_000);
  afterEach(async () => {
    for (const { process } of [leader, standby]) {
      process.signal('SIGCONT');
      await process.stop();
    }
  }, 60_000);

  /** Brings an issuer to where a switch of keys is decided, but some seconds away; resolves with the key before. */
  async function beginRotation(name: string): Promise<string> {
    const rotation = {
      ...{ interval: '10m', verifierCacheTTL: '1s', propagation: '10s', clockSkew: '1s', grace: '5m' },
    };
    const spec = { server: { replicas: 1 }, ttl: { default: '1s', max: '1s' }, rotation };
    await bench.apply(name, spec);
    const active = (await bench.ready(name)).status?.activeKeyID as string;
    await bench.apply(name, { ...spec, rotation: { ...rotation, rotateNow: 'now' } });
    await eventually('the decision', async () => {
      const { status } = await bench.issuer(name);
      if (status?.activeKeyID !== active) throw new Error('the switch is over already');
      return status?.conditions?.some(({ reason }) => reason === 'SwitchCommitted');
    });
    return active;
  }

  /** Waits until agents have the next key alone. */
  async function expectCompleted(name: string, before: string): Promise<void> {
    const next = await eventually('another active key', async () => {
      const active = (await bench.issuer(name)).status?.activeKeyID;
      return active !== before && active;
    });
    await eventually('it alone with agents', async () => {
      const { keys } = await bench.agentFiles(name);
      return keys.length === 1 && keys[0]?.kid === next;
    });
    await bench.ready(name);
  }

  test('the other takes over within 20 s of a SIGKILL, and completes a rotation that was under way', async () => {
    const before = await beginRotation('killed');
    const begun = performance.now();
    leader.process.signal('SIGKILL');
    await leading(standby);
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(await readLeaseSpec(bench, operatorNamespace)).toMatchObject({ leaseTransitions: 1 });
    await expectCompleted('killed', before);
  }, 180_000);

  test('the other takes over within 3 s of a SIGTERM, and completes a rotation that was under way', async () => {
    const before = await beginRotation('stopped');
    const begun = performance.now();
    leader.process.signal('SIGTERM');
    await leading(standby);
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect(await leader.process.ended).toBe(0);
    await expectCompleted('stopped', before);
  }, 180_000);

  test('one that was paused in the midst of its work writes nothing more once the other leads, and ends', async () => {
    const before = await beginRotation('going');
    // With a write in hand that is about to be sent. A signal would stop it in its wait for answers as a rule, and there it
    // learns first, when it goes on, that its time is over.
    const held = await holdAt(leader.process, 'operator/cluster/client.ts', 'beforeWrite();');
    await Promise.all(
      many.map((name) =>
        bench.client.create(resources.issuers, bench.namespace, {
          apiVersion: resources.issuers.apiVersion,
          kind: resources.issuers.kind,
          metadata: { name, namespace: bench.namespace },
          spec: { server: { replicas: 1 } },
        }),
      ),
    );
    await held.reached;
    leader.process.signal('SIGSTOP');
    const begun = performance.now();
    await leading(standby);
    expect(performance.now() - begun).toBeLessThan(20_000);
    for (const name of many) await bench.ready(name);
    await expectCompleted('going', before);

    const goesOn = Date.now();
    leader.process.signal('SIGCONT');
    held.release();
    expect(await leader.process.ended).toBe(1);
    expect(leader.process.output()).toContain('no longer leading');
    const ended = Date.now();
    // The audit log has what came before that, then.
    await eventually('a renewal', async () => (await standby.writesSince(ended)).length > 0);
    const writes = await leader.writesSince(goesOn);
    expect(writes.filter(({ responseStatus }) => (responseStatus?.code ?? 0) < 300).map(inShort)).toEqual([]);
    // Nor does it ask to, but for the Lease, which is another version now.
    expect(writes.map(inShort).filter((write) => !write.startsWith('update leases '))).toEqual([]);
    expect(await standby.leads()).toBe(true);
    // It had something to do when it was paused.
    expect((await leader.writesSince(0)).length).toBeGreaterThan(0);
  }, 240_000);
});
