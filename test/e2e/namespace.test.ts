import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { resources } from '../../operator/cluster/resources.ts';
import { release } from '../support/helm.ts';
import { install } from './cluster/install.ts';
import { openPlace, type Place } from './place.ts';
import { providePrograms } from './pods.ts';
import { activeKey, shortLife, startWork, switched, type Work } from './work.ts';

jest.setTimeout(300_000);

let place: Place;
let work: Work;

beforeAll(async () => {
  place = await openPlace('life');
  await providePrograms(place);
  await place.ready('keys', shortLife);
  work = await startWork(place, 'keys');
}, 900_000);
afterAll(async () => {
  // Whatever became of it: other tests need it, and issuers need it to go.
  if (place) await install(place.cluster);
  await place?.close();
}, 300_000);

const namesOf = (kind: string) =>
  place.cluster.kubectl.run([
    ...['get', kind, '-A', '-l', `app.kubernetes.io/instance=${release.name}`, '-o', 'name'],
  ]);

test('agents mint on while the chart is uninstalled, and an install goes on with their keys', async () => {
  const key = await activeKey(place, 'keys');
  await place.cluster.helm(['uninstall', release.name, '--wait', '--timeout', '120s']);
  expect(await namesOf('deployments,clusterroles,validatingadmissionpolicies')).toBe('');
  await work.goesOn(50);
  await install(place.cluster);
  expect(await activeKey(place, 'keys')).toBe(key);
  await place.patch('keys', { rotation: { rotateNow: 'installed again' } });
  const { status } = await switched(place, 'keys', key);
  await work.sees(status?.activeKeyID as string);
  await work.isUnrefused('an uninstall and an install');
});

test("the operator's own namespace can be deleted with it and with an issuer in it, and nothing is stuck", async () => {
  const { apiVersion, kind } = resources.issuers;
  const near = { apiVersion, kind, metadata: { name: 'near', namespace: release.namespace } };
  await place.cluster.kubectl.run(['apply', '-f', '-'], JSON.stringify(near));
  await place.cluster.kubectl.run([
    ...['wait', '-n', release.namespace, 'mai/near', '--for=condition=Ready', '--timeout=90s'],
  ]);
  const key = await activeKey(place, 'keys');
  await place.cluster.kubectl.run(['delete', 'namespace', release.namespace, '--timeout=120s']);
  await work.goesOn(50);
  await install(place.cluster);
  expect(await activeKey(place, 'keys')).toBe(key);
  await place.patch('keys', { rotation: { rotateNow: 'a new namespace' } });
  const { status } = await switched(place, 'keys', key);
  await work.sees(status?.activeKeyID as string);
  await work.isUnrefused('a deleted namespace of the operator');
});
