import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { serverPodSelector } from '../../operator/build/server.ts';
import type { KubeObject } from '../../operator/cluster/resources.ts';
import { isReady } from '../../operator/status/judge.ts';
import { renameImage } from '../support/image-archive.ts';
import { install } from './cluster/install.ts';
import { operatorPods } from './leader.ts';
import { eventually, openPlace, type Place } from './place.ts';
import { agentPod, firstLine, providePrograms } from './pods.ts';
import { activeKey, shortLife, startWork, switched, type Work } from './work.ts';

jest.setTimeout(300_000);

let place: Place;
let work: Work;
// What the next release would bring, as far as a cluster can tell: images of other names. Programs of another release there
// are none yet.
const next = { sidecar: 'localhost/macp-auth-sidecar:next', operator: 'localhost/macp-auth-operator:next' };

beforeAll(async () => {
  place = await openPlace('upgrade');
  await providePrograms(place);
  await place.ready('keys', shortLife);
  work = await startWork(place, 'keys');
  const dir = await mkdtemp(join(tmpdir(), 'macp-next-'));
  try {
    for (const name of ['sidecar', 'operator'] as const) {
      const file = join(dir, `${name}.tar`);
      await renameImage(place.cluster.node?.archives[name] as string, file, next[name]);
      await place.cluster.onNode('importImage', file);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
}, 900_000);
afterAll(async () => {
  if (place) await install(place.cluster);
  await place?.close();
}, 300_000);

const imagesOf = ({ spec }: KubeObject, list: 'containers' | 'initContainers'): string[] =>
  ((spec as { [list: string]: { image: string }[] })[list] ?? []).map(({ image }) => image);

test('an upgrade to other images refuses no token, and sidecars from before follow the new operator', async () => {
  const key = await activeKey(place, 'keys');
  const images = { ...place.cluster.images, ...next };
  await install({ ...place.cluster, images });
  for (const pod of await operatorPods(place.cluster)) {
    if (!pod.metadata.deletionTimestamp) expect(imagesOf(pod, 'containers')).toEqual([next.operator]);
  }
  await eventually(
    'servers of the new image only',
    async () => {
      const pods = await place.pods(`${serverPodSelector},app.kubernetes.io/instance=keys`);
      const isNew = (pod: KubeObject) => isReady(pod) && imagesOf(pod, 'containers').includes(next.sidecar);
      if (pods.length === 2 && pods.every(isNew)) return true;
      throw new Error(pods.map((pod) => `${pod.metadata.name} ${imagesOf(pod, 'containers')}`).join(', '));
    },
    120,
  );
  for (const pod of await place.pods('app in (keys-one, keys-two)'))
    expect(imagesOf(pod, 'initContainers')).toEqual([place.cluster.images.sidecar]);
  expect(await activeKey(place, 'keys')).toBe(key);

  await place.patch('keys', { rotation: { rotateNow: 'upgraded' } });
  const { status } = await switched(place, 'keys', key);
  await work.sees(status?.activeKeyID as string);
  await place.apply(agentPod(place, 'keys', 'newcomer', 'mint', { env: { SENDER: 'agent://newcomer' } }));
  await firstLine(place, 'pod/newcomer', 'token');
  const [newcomer] = await place.pods('app=newcomer');
  expect(imagesOf(newcomer as KubeObject, 'initContainers')).toEqual([next.sidecar]);
  await work.isUnrefused('an upgrade');
});
