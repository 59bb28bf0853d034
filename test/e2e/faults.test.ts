import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { serverPodSelector } from '../../operator/build/server.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { isReady } from '../../operator/status/judge.ts';
import { followAuditLog } from '../controlplane/audit.ts';
import { release } from '../support/helm.ts';
import { killProgram, leader } from './leader.ts';
import { eventually, openPlace, type Place } from './place.ts';
import { podIPOf, providePrograms } from './pods.ts';
import { activeKey, shortLife, startWork, switched, type Work } from './work.ts';

jest.setTimeout(300_000);

let place: Place;
let work: Work;

beforeAll(async () => {
  place = await openPlace('faults');
  await providePrograms(place);
  await place.ready('keys', shortLife);
  work = await startWork(place, 'keys');
}, 900_000);
afterAll(() => place?.close());

const say = (line: string) => process.stderr.write(`${line}\n`);
const servers = () => place.pods(`${serverPodSelector},app.kubernetes.io/instance=keys`);
const readyServers = async () =>
  (await servers()).filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);

const twoReady = (without: string[] = []) =>
  eventually(
    'two Ready servers',
    async () => {
      const names = (await readyServers()).map(({ metadata }) => metadata.name);
      if (names.length === 2 && !names.some((name) => without.includes(name))) return true;
      throw new Error(names.join(', '));
    },
    120,
  );

test('a drain takes one of two servers and waits with the other, and no token is refused', async () => {
  await twoReady();
  const before = await readyServers();
  const names = before.map(({ metadata }) => metadata.name);
  const [nodeName] = before.map(({ spec }) => (spec as { nodeName: string }).nodeName) as [string];
  const selector = `--pod-selector=${serverPodSelector},app.kubernetes.io/instance=keys`;
  const { kubectl } = place.cluster;
  const refusals = followAuditLog(
    place.cluster.node?.auditLogPath as string,
    ({ objectRef, responseStatus }) => objectRef?.subresource === 'eviction' && responseStatus?.code === 429,
  );
  const kept: (string | undefined)[] = [];
  /** Whether the API server has refused to evict a pod, which it does for the sake of the disruption budget. */
  const isKept = async (name: string) => {
    kept.push(...(await refusals()).map(({ objectRef }) => objectRef?.name));
    return kept.includes(name);
  };
  const drain = kubectl.run(['drain', nodeName, selector, '--ignore-daemonsets', '--timeout=150s']);
  const ended = drain.then(() => Promise.reject(new Error('the drain took both')));
  const meanwhile = <T>(wait: Promise<T>) => Promise.race([wait, ended]);
  try {
    // There is no other node for it.
    await meanwhile(
      eventually('a successor that no node takes', async () =>
        (await servers()).some(({ spec }) => !(spec as { nodeName?: string }).nodeName),
      ),
    );
    const left = (await readyServers()).map(({ metadata }) => metadata.name);
    expect(left).toHaveLength(1);
    expect(names).toContain(left[0]);
    await meanwhile(eventually('a refusal to evict the other', () => isKept(left[0] as string)));
    await meanwhile(work.goesOn());
    expect((await readyServers()).map(({ metadata }) => metadata.name)).toEqual(left);
  } finally {
    await kubectl.run(['uncordon', nodeName]);
    await Promise.allSettled([drain]);
  }
  await drain;
  await twoReady(names);
  await work.goesOn();
  await work.isUnrefused('a drain');
});

test('a server whose packets are lost leaves the Service, and no token is refused', async () => {
  await twoReady();
  const [lost] = await readyServers();
  const podIP = podIPOf(lost);
  const drop = (hook: string) =>
    `chain ${hook} { type filter hook ${hook} priority 0; ip daddr ${podIP} drop; ip saddr ${podIP} drop; }`;
  await place.cluster.onNode(
    'nft',
    ['-f', '-'],
    `table inet outage {\n${['forward', 'output', 'input'].map(drop).join('\n')}\n}`,
  );
  try {
    await work.goesOn();
    await eventually(
      'a server that is not Ready',
      async () => {
        const names = (await readyServers()).map(({ metadata }) => metadata.name);
        if (names.length === 1 && names[0] !== lost?.metadata.name) return true;
        throw new Error(names.join(', '));
      },
      90,
    );
    await work.goesOn();
  } finally {
    await place.cluster.onNode('nft', ['delete', 'table', 'inet', 'outage']);
  }
  await twoReady();
  await work.goesOn();
  await work.isUnrefused('lost packets');
});

test('a leader that is killed in a rotation is followed by the other within 20 s, and the rotation ends', async () => {
  const before = await activeKey(place, 'keys');
  const old = await leader(place.cluster);
  await place.patch('keys', { rotation: { rotateNow: 'killed' } });
  await killProgram(old.uid, 'operator.cjs');
  const killedAt = Date.now();
  const next = await eventually('another leader', async () => {
    const found = await leader(place.cluster);
    if (found.identity !== old.identity) return found;
    throw new Error(found.identity);
  });
  const seconds = (Date.now() - killedAt) / 1000;
  say(`after a kill another led in ${seconds.toFixed(1)} s`);
  expect(seconds).toBeLessThan(20);
  const { status } = await switched(place, 'keys', before);
  await work.sees(status?.activeKeyID as string);
  await work.isUnrefused(`a rotation under ${old.pod}, then ${next.pod}`);
});

test('a leader whose pod is deleted is followed within 3 s', async () => {
  await place.cluster.kubectl.run([
    ...['rollout', 'status', '-n', release.namespace, `deployment/${release.name}`, '--timeout=90s'],
  ]);
  const old = await leader(place.cluster);
  await place.cluster.kubectl.run(['delete', 'pod', old.pod, '-n', release.namespace, '--wait=false']);
  const deletedAt = Date.now();
  await eventually('another leader', async () => {
    const { identity } = await leader(place.cluster);
    if (identity !== old.identity) return true;
    throw new Error(identity);
  });
  const seconds = (Date.now() - deletedAt) / 1000;
  say(`after a deletion another led in ${seconds.toFixed(1)} s`);
  expect(seconds).toBeLessThan(3);
});

test('agents mint and the runtime judges without an API server, and the next rotation is as any', async () => {
  await place.cluster.onNode('stopAPIServer');
  await expect(place.cluster.client.list(resources.leases, release.namespace, {})).rejects.toThrow();
  // Longer than a leader works on without its Lease.
  const outageMs = 15_000;
  await sleep(outageMs);
  await place.cluster.onNode('startAPIServer');
  const back = Date.now();
  const during = (await work.verdicts()).filter(({ at }) => at > back - outageMs && at < back - 2_000);
  expect(during.length).toBeGreaterThan(20);
  const before = await activeKey(place, 'keys');
  await place.patch('keys', { rotation: { rotateNow: 'after the outage' } });
  const { status } = await switched(place, 'keys', before, 150);
  // Just after an outage kubelet takes its time with files, more than the issuer says it does. That must refuse nothing either.
  await work.sees(status?.activeKeyID as string, 150);
  await twoReady();
  await work.isUnrefused('an outage of the API server');
});
