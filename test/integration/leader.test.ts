import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Candidate, inShort, leading, leaseName, readLeaseSpec, startCandidate } from './candidates.ts';
import { type Bench, eventually, openBench } from './support.ts';

// In a namespace of its own, so that others may have theirs: the shipped Role is about one.
describe('operators that elect a leader', () => {
  let bench: Bench;
  let first: Candidate;
  let second: Candidate;

  beforeAll(async () => {
    bench = await openBench('leader');
    const { namespace, kubectl } = bench;
    const rules = ['--verb=get,create,update', '--resource=leases.coordination.k8s.io'];
    await kubectl.run(['create', 'role', 'leader', '-n', namespace, ...rules]);
    const subject = '--serviceaccount=macp-auth-system:macp-auth-operator';
    await kubectl.run(['create', 'rolebinding', 'leader', '-n', namespace, '--role=leader', subject]);
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const isLease = ({ objectRef }: Parameters<Candidate['isIts']>[0]) => objectRef?.resource === 'leases';

  test('have one that works, while the other follows, answers and writes nothing', async () => {
    first = await startCandidate(bench, bench.namespace);
    await leading(first);
    second = await startCandidate(bench, bench.namespace);
    await eventually('another that stands by', async () => second.process.output().includes('standing by'));
    await bench.apply('elected');
    await bench.ready('elected');
    expect(await second.leads()).toBe(false);
    expect((await second.get('/readyz')).status).toBe(200);
    expect((await second.get('/healthz')).status).toBe(200);
    expect((await first.get('/readyz')).status).toBe(200);
    expect((await second.writesSince(0)).map(inShort)).toEqual([]);
    const micro = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
    expect(await readLeaseSpec(bench, bench.namespace)).toEqual({
      holderIdentity: expect.stringMatching(/^.+_[-0-9a-f]{36}$/),
      leaseDurationSeconds: 15,
      acquireTime: expect.stringMatching(micro),
      renewTime: expect.stringMatching(micro),
      leaseTransitions: 0,
    });
  }, 120_000);

  test('write nothing in a steady state but the renewals of the one that leads', async () => {
    const settled = () => first.writesSince(Date.now() - 4_000);
    await eventually('a steady state', async () => (await settled()).every(isLease));
    const begun = Date.now();
    await sleep(6_000);
    const writes = await first.writesSince(begun);
    expect([...new Set(writes.map(inShort))]).toEqual([`update leases ${leaseName} 200`]);
    expect(writes.length).toBeGreaterThanOrEqual(2);
    expect(writes.length).toBeLessThanOrEqual(5);
    expect(await second.writesSince(0)).toEqual([]);
  }, 120_000);

  test('follow one another within three seconds when the leader stops in good order', async () => {
    const before = await readLeaseSpec(bench, bench.namespace);
    const begun = performance.now();
    const stopped = first.process.stop();
    await leading(second);
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect(await stopped).toBe(0);
    expect(first.process.output()).toContain('the Lease is free');
    const after = await readLeaseSpec(bench, bench.namespace);
    expect(after.leaseTransitions).toBe(1);
    expect(after.leaseDurationSeconds).toBe(15);
    expect(after.holderIdentity).not.toBe(before.holderIdentity);
    expect(Date.parse(after.acquireTime ?? '')).toBeGreaterThan(Date.parse(before.acquireTime ?? ''));
    await bench.apply('after');
    await bench.ready('after');
  }, 120_000);

  test('end with 1 when another holds the Lease', async () => {
    const patch = { spec: { holderIdentity: 'somebody', leaseDurationSeconds: 1 } };
    const args = ['patch', 'lease', leaseName, '-n', bench.namespace, '--type=merge'];
    await bench.kubectl.run([...args, '-p', JSON.stringify(patch)]);
    expect(await second.process.ended).toBe(1);
    expect(second.process.output()).toContain('"reason":"somebody holds the Lease now"');
    const third = await startCandidate(bench, bench.namespace);
    await leading(third);
    expect(await readLeaseSpec(bench, bench.namespace)).toMatchObject({ leaseTransitions: 2 });
    await third.process.stop();
  }, 120_000);
});
