import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CoreV1Api } from '@kubernetes/client-node';
import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type AuditEvent, isWrite } from '../controlplane/audit.ts';
import { type Bench, eventually, openBench, operatorUser } from '../integration/support.ts';
import { sidecarImage } from '../support/operator.ts';

const namespaceCount = 200;
const issuerCount = 5;
const quietMs = 30_000;
// A new issuer is written when it is seen, when its keys are out, and as its server comes up; a change less often.
const statusWritesEach = 10;

describe(`${issuerCount} issuers with agents in ${namespaceCount} namespaces`, () => {
  let bench: Bench;
  let core: CoreV1Api;
  const names = Array.from({ length: issuerCount }, (_, i) => `wide-${i}`);

  beforeAll(async () => {
    bench = await openBench('wide');
    core = bench.cluster.kubeConfig.makeApiClient(CoreV1Api);
  }, 120_000);
  // The namespaces stay, empty: taking them away would only keep the cluster of the next tests busy.
  afterAll(() => bench?.close(), 120_000);

  const spaceName = (i: number) => `${bench.namespace}-${i}`;
  const spaces = (keep: (i: number) => boolean = () => true) =>
    Array.from({ length: namespaceCount }, (_, i) => i)
      .filter(keep)
      .map(spaceName);
  // In the issuers' namespace and those of the agents, whose names begin with its name.
  const isHere = ({ objectRef }: AuditEvent) => objectRef?.namespace?.startsWith(bench.namespace) ?? false;
  const writes = async () =>
    (
      await bench.cluster.readAudit(
        (event) => isWrite(event) && isHere(event) && event.user.username === operatorUser,
      )
    ).map(({ verb, objectRef }) => ({ verb, ...objectRef }));
  const allAre = (what: string, is: (issuer: MacpAuthIssuer) => boolean, seconds: number) =>
    eventually(
      what,
      async () => {
        const all = await Promise.all(names.map((name) => bench.issuer(name)));
        if (all.every(is)) return true;
        throw new Error(
          JSON.stringify(all.map(({ status }) => [status?.namespaces, status?.conditions?.[0]?.reason])),
        );
      },
      seconds,
    );
  const has = ({ status }: MacpAuthIssuer, type: string) =>
    status?.conditions?.find((condition) => condition.type === type)?.status === 'True';
  const holders = async (name: string) => {
    const { agentSecret } = objectNames({ namespace: bench.namespace, name });
    const { items } = await bench.client.list(resources.secrets, undefined, {
      fieldSelector: `metadata.name=${agentSecret}`,
    });
    return items.map(({ metadata }) => metadata.namespace).sort();
  };
  const isAgentSecret = ({ name, resource }: { name?: string; resource?: string }) =>
    resource === 'secrets' && !name?.startsWith('macp-auth-keyring');

  test('converge, rest, and give up exactly what half of them have when that is deselected', async () => {
    await Promise.all(
      spaces().map((name, i) =>
        core.createNamespace({
          body: { metadata: { name, labels: { wide: bench.namespace, half: String(i % 2) } } },
        }),
      ),
    );
    const spec = (selector: object) => ({
      server: { replicas: 1 },
      ttl: { default: '1s', max: '1s' },
      rotation: { interval: '20m', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '5m' },
      agents: { namespaceSelector: selector },
    });
    const flags = ['--sidecar-image', sidecarImage, '--trusted-namespaces', bench.namespace];
    const operator = bench.clusterOperator(flags);
    await Promise.all(
      names.map((name) => bench.apply(name, spec({ matchLabels: { wide: bench.namespace } }))),
    );
    await allAre(
      'all current',
      (issuer) => has(issuer, 'Ready') && issuer.status?.namespaces === namespaceCount + 1,
      120,
    );
    for (const name of names) expect(await holders(name)).toEqual([bench.namespace, ...spaces()].sort());

    // No namespace was written to twice for one revision, and status not once for each namespace.
    await sleep(5_000);
    const converged = await writes();
    const creations = converged.filter((write) => isAgentSecret(write) && write.verb === 'create');
    expect(creations).toHaveLength(issuerCount * (namespaceCount + 1));
    const told = converged.filter(({ subresource }) => subresource === 'status');
    expect(told.length).toBeLessThanOrEqual(issuerCount * statusWritesEach);
    await sleep(quietMs);
    expect((await writes()).slice(converged.length)).toEqual([]);

    const half = { matchLabels: { wide: bench.namespace, half: '0' } };
    await Promise.all(names.map((name) => bench.apply(name, spec(half))));
    const kept = [bench.namespace, ...spaces((i) => i % 2 === 0)].sort();
    await allAre('half of them current', ({ status }) => status?.namespaces === kept.length, 60);
    for (const name of names) {
      await eventually(`the Secrets of ${name}`, async () => {
        const found = await holders(name);
        return JSON.stringify(found) === JSON.stringify(kept);
      });
    }
    const deletions = (await writes()).filter(({ verb }) => verb === 'delete');
    expect(deletions).toHaveLength((issuerCount * namespaceCount) / 2);
    expect(new Set(deletions.map(({ namespace }) => namespace))).toEqual(new Set(spaces((i) => i % 2 === 1)));

    // The keys that were known there are replaced everywhere, and revoked.
    await allAre('keys confined', (issuer) => has(issuer, 'Ready') && has(issuer, 'KeysConfined'), 150);
    for (const name of names) {
      const { status } = await bench.issuer(name);
      expect(status?.keys?.filter(({ state }) => state === 'Revoked')).toHaveLength(1);
    }
    await bench.kubectl.run(['delete', 'mai', '--all', '-n', bench.namespace, '--timeout=60s']);
    for (const name of names) expect(await holders(name)).toEqual([]);
    await operator.stop();
  }, 420_000);
});
