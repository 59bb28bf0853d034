import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { crdName } from '../../operator/api/names.ts';
import { serverPodSelector } from '../../operator/build/server.ts';
import type { KubeObject } from '../../operator/cluster/resources.ts';
import { isReady } from '../../operator/status/judge.ts';
import { chart, release } from '../support/helm.ts';
import { type Cluster, openCluster } from './cluster/cluster.ts';
import { install, uninstall } from './cluster/install.ts';
import { operatorPods } from './leader.ts';
import { eventually, openPlace, type Place } from './place.ts';
import { agentPod, firstLine, providePrograms } from './pods.ts';
import { type ProvidedRelease, provideReleaseBefore } from './release/provide.ts';
import { activeKey, shortLife, startWork, switched, type Work } from './work.ts';

jest.setTimeout(300_000);

let cluster: Cluster | undefined;
let place: Place;
let work: Work;
let former: ProvidedRelease;

beforeAll(async () => {
  cluster = await openCluster();
  former = await provideReleaseBefore(cluster);
  // Nothing of this tree is there, not even its CRD, when the former release is installed.
  await uninstall(cluster);
  await install({ ...cluster, images: { ...cluster.images, ...former.images } }, former.chart);
  place = await openPlace('upgrade');
  await providePrograms(place);
  await place.ready('keys', shortLife);
  work = await startWork(place, 'keys');
}, 900_000);
afterAll(async () => {
  try {
    if (cluster) await install(cluster);
  } finally {
    await place?.close();
  }
}, 300_000);

const imagesOf = ({ spec }: KubeObject, list: 'containers' | 'initContainers'): string[] =>
  ((spec as { [list: string]: { image: string }[] })[list] ?? []).map(({ image }) => image);

const servers = () => place.pods(`${serverPodSelector},app.kubernetes.io/instance=keys`);

/** The pods of the agents, with the sidecar of each and how often that was started anew. */
const agents = async () =>
  (await place.pods('app in (keys-one, keys-two)')).map((pod) => {
    const { initContainerStatuses } = pod.status as { initContainerStatuses: { restartCount: number }[] };
    const restarts = initContainerStatuses.map(({ restartCount }) => restartCount);
    return { uid: pod.metadata.uid, images: imagesOf(pod, 'initContainers'), restarts };
  });

/** The spec of the CRD as the cluster has it, and as a chart would have it there. */
async function crdSpecs(from: string): Promise<unknown[]> {
  const file = join(from, 'files/macpauthissuers.yaml');
  const commands = [
    ['get', 'crd', crdName],
    ['replace', '--dry-run=server', '-f', file],
  ];
  return Promise.all(
    commands.map(async (args) => JSON.parse(await place.kubectl([...args, '-o', 'json'])).spec),
  );
}

/** Waits until operators and JWKS servers run these images alone, with the CRD of their chart. */
async function runs(from: string, { operator, sidecar }: { operator: string; sidecar: string }) {
  const [live, expected] = await crdSpecs(from);
  expect(live).toEqual(expected);
  const staying = (await operatorPods(place.cluster)).filter(({ metadata }) => !metadata.deletionTimestamp);
  expect(staying.map((pod) => imagesOf(pod, 'containers'))).toEqual([[operator], [operator]]);
  await eventually(
    `servers of ${sidecar} only`,
    async () => {
      const pods = await servers();
      const isMeant = (pod: KubeObject) => isReady(pod) && imagesOf(pod, 'containers').includes(sidecar);
      if (pods.length === 2 && pods.every(isMeant)) return true;
      throw new Error(pods.map((pod) => `${pod.metadata.name} ${imagesOf(pod, 'containers')}`).join(', '));
    },
    120,
  );
}

test('the former release runs, with its own CRD', async () => {
  await runs(former.chart, former.images);
  const { sidecar } = former.images;
  expect((await agents()).map(({ images }) => images)).toEqual([[sidecar], [sidecar]]);
});

test('an upgrade as the docs have it refuses no token, and its sidecars follow the new operator through a rotation', async () => {
  const key = await activeKey(place, 'keys');
  const before = await agents();
  const { sidecar, operator } = place.cluster.images;
  await place.cluster.helm([
    ...['upgrade', release.name, chart, '--wait', '--timeout', '180s', '--reset-then-reuse-values'],
    ...['--set', `operator.image=${operator}`, '--set', `sidecar.image=${sidecar}`],
  ]);
  await runs(chart, { operator, sidecar });
  expect(await activeKey(place, 'keys')).toBe(key);

  await place.patch('keys', { rotation: { rotateNow: 'upgraded' } });
  const { status } = await switched(place, 'keys', key);
  await work.sees(status?.activeKeyID as string);
  expect(await agents()).toEqual(before);
  await place.apply(agentPod(place, 'keys', 'newcomer', 'mint', { env: { SENDER: 'agent://newcomer' } }));
  await firstLine(place, 'pod/newcomer', 'token');
  const [newcomer] = await place.pods('app=newcomer');
  expect(imagesOf(newcomer as KubeObject, 'initContainers')).toEqual([sidecar]);
  await work.isUnrefused('an upgrade');
});

test('a rollback brings programs and CRD back, refuses no token, and the former operator rotates on', async () => {
  const key = await activeKey(place, 'keys');
  await place.cluster.helm(['rollback', release.name, '--wait', '--timeout', '180s']);
  await runs(former.chart, former.images);
  expect(await activeKey(place, 'keys')).toBe(key);

  await place.patch('keys', { rotation: { rotateNow: 'rolled back' } });
  const { status } = await switched(place, 'keys', key);
  await work.sees(status?.activeKeyID as string);
  await work.isUnrefused('an upgrade and a rollback');
});
