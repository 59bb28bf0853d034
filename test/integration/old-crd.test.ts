import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { crdName } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type ControlPlane, startControlPlane } from '../controlplane/controlplane.ts';
import { applyPrerequisites, serviceAccountKubeconfig } from '../local/cluster.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type OperatorProcess, startOperator } from '../support/operator.ts';
import { eventually, operatorUser } from './support.ts';

const schemaPath = `/openapi/v3/apis/${resources.issuers.apiVersion}`;

let dir: string;
// Others need the CRD as it is.
let controlPlane: ControlPlane;
let kubectl: Kubectl;
let kubeconfigPath: string;
const operators: OperatorProcess[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'macp-old-crd-'));
  controlPlane = await startControlPlane({ log: (line) => process.stderr.write(`${line}\n`) });
  kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
  await applyPrerequisites(kubectl);
  kubeconfigPath = await serviceAccountKubeconfig(kubectl, dir);
}, 180_000);
afterAll(async () => {
  await Promise.all(operators.map((operator) => operator.stop()));
  await controlPlane?.stop();
  await rm(dir, { recursive: true, force: true });
}, 60_000);

function start(): OperatorProcess {
  const logFile = join(dir, `operator-${operators.length}.log`);
  const operator = startOperator({ kubeconfigPath, logFile });
  operators.push(operator);
  return operator;
}
const linesAboutCRD = (operator: OperatorProcess): { level: string; msg: string; missing?: string[] }[] =>
  operator
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ msg }) => msg.includes('CRD'));
const looks = async () =>
  (
    await controlPlane.readAudit(
      ({ user, requestURI, responseStatus }) =>
        user.username === operatorUser && requestURI === schemaPath && responseStatus?.code === 200,
    )
  ).length;

test('an operator with an older CRD says once which fields it lacks, and when they are there', async () => {
  const present = await kubectl.run(['get', 'crd', crdName, '-o', 'json']);
  const older = JSON.parse(present);
  const { spec, status } = older.spec.versions[0].schema.openAPIV3Schema.properties;
  delete spec.properties.server.properties.tls;
  delete spec.properties.agents.properties.grants.items.properties.maxTTL;
  delete status.properties.namespaces;
  // Of the rules one names a field that is gone.
  delete spec['x-kubernetes-validations'];
  await kubectl.run(['replace', '-f', '-'], JSON.stringify(older));
  await eventually(
    'the older CRD',
    async () => !(await kubectl.run(['get', '--raw', schemaPath])).includes('"tls":'),
  );

  const operator = start();
  await eventually('a word about the CRD', async () => linesAboutCRD(operator).length > 0);
  await eventually('a second look', async () => (await looks()) >= 2);
  expect(linesAboutCRD(operator)).toEqual([
    expect.objectContaining({
      level: 'error',
      missing: [
        'spec.agents.grants[].maxTTL',
        'spec.server.tls',
        'spec.server.tls.secretName',
        'status.namespaces',
      ],
      msg: expect.stringContaining('kubectl apply -f crds/'),
    }),
  ]);

  const { resourceVersion: _, ...metadata } = JSON.parse(present).metadata;
  await kubectl.run(['replace', '-f', '-'], JSON.stringify({ ...JSON.parse(present), metadata }));
  await eventually('that the CRD is right', async () => linesAboutCRD(operator).length === 2);
  expect(linesAboutCRD(operator)[1]).toMatchObject({ level: 'info' });

  // It looks no longer, and the next one has nothing to say.
  const before = await looks();
  const next = start();
  await eventually('a look of the next operator', async () => (await looks()) > before);
  await eventually('its caches', async () => next.output().includes('"started"'));
  expect(linesAboutCRD(next)).toEqual([]);
  expect(await looks()).toBe(before + 1);
});
