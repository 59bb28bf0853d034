import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { serverPodSelector } from '../../operator/build/server.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { isReady } from '../../operator/status/judge.ts';
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

const twoReady = (without?: string) =>
  eventually(
    'two Ready servers',
    async () => {
      const names = (await readyServers()).map(({ metadata }) => metadata.name);
      if (names.length === 2 && !names.includes(without ?? '')) return true;
      throw new Error(names.join(', '));
    },
    120,
  );

test('of two servers that are to be evicted one stays, and no token is refused', async () => {
  await twoReady();
  const [one, two] = (await readyServers()).map(({ metadata }) => metadata.name) as [string, string];
  const evict = (name: string) => {
    const eviction = {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name, namespace: place.namespace },
    };
    const path = `/api/v1/namespaces/${place.namespace}/pods/${name}/eviction`;
    return place.kubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
  };
  await eventually('a budget that counts two', async () => {
    const allowed = await place.kubectl([
      'get',
      'pdb',
      '-o',
      'jsonpath={.items[*].status.disruptionsAllowed}',
    ]);
    if (allowed === '1') return true;
    throw new Error(allowed);
  });
  await evict(one);
  await expect(evict(two)).rejects.toThrow('disruption budget');
  await twoReady(one);
  await work.goesOn();
  await work.isUnrefused('an eviction');
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
