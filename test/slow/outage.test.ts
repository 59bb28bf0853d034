import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MacpAuthIssuer } from '../../operator/api/names.ts';
import { ApiClient } from '../../operator/cluster/client.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type ControlPlane, kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { eventually } from '../integration/support.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';
import { applyPrerequisites, serviceAccountKubeconfig } from '../local/cluster.ts';
import { kubectlFor } from '../local/kubectl.ts';
import { type OperatorProcess, sidecarCommand, sidecarImage, startOperator } from '../support/operator.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);
const outageMs = 60_000;

describe('an API server that goes away for a minute', () => {
  let controlPlane: ControlPlane;
  let kubelet: Kubelet;
  let operator: OperatorProcess;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'macp-outage-'));
    controlPlane = await startControlPlane({ log });
    kubelet = await startKubelet({
      kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
      images: { [sidecarImage]: sidecarCommand },
      log,
    });
  }, 120_000);
  afterAll(async () => {
    await operator?.stop();
    await kubelet?.stop();
    await controlPlane?.stop();
    await rm(dir, { recursive: true, force: true });
  }, 60_000);

  test('loses nothing, and what was asked for right before and after it is done', async () => {
    const kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
    await applyPrerequisites(kubectl);
    const client = new ApiClient(controlPlane.kubeConfig);
    const kubeconfigPath = await serviceAccountKubeconfig(kubectl, dir);
    operator = startOperator({ kubeconfigPath, logFile: join(dir, 'operator.log') });
    const apply = (name: string) =>
      kubectl.run(
        ['apply', '-f', '-'],
        JSON.stringify({
          apiVersion: resources.issuers.apiVersion,
          kind: 'MacpAuthIssuer',
          metadata: { name, namespace: 'default' },
        }),
      );
    const ready = (name: string) =>
      eventually(
        `${name} Ready`,
        async () => {
          const issuer = await client.get<MacpAuthIssuer>(resources.issuers, 'default', name);
          return (
            issuer.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') &&
            issuer
          );
        },
        90,
      );
    await apply('before');
    const before = await ready('before');
    await apply('amid');
    await controlPlane.apiServer.stop();
    await new Promise((resolve) => setTimeout(resolve, outageMs));
    await controlPlane.apiServer.start();
    const amid = await ready('amid');
    expect(amid.status?.keys).toHaveLength(3);
    await apply('after');
    await ready('after');
    const again = await ready('before');
    expect(again.status?.keys).toEqual(before.status?.keys);
    expect(again.metadata.uid).toBe(before.metadata.uid);
  }, 240_000);
});
