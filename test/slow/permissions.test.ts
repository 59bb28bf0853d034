import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { objectNames } from '../../operator/api/names.ts';
import { type Bench, eventually, openBench, operatorUser } from '../integration/support.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

describe('the shipped permissions', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('permissions');
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const granted = async (): Promise<string[]> => {
    const text = await readFile(join(import.meta.dirname, '../../operator/rbac.yaml'), 'utf8');
    const role = parseAllDocuments(text)
      .find((document) => document.get('kind') === 'ClusterRole')
      ?.toJSON() as { rules: Rule[] };
    return role.rules
      .flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
        ),
      )
      .sort();
  };

  // Every verb is seen with an answer that is no refusal, in the life of an issuer from its creation to its deletion.
  test('are exactly those that are used', async () => {
    const operator = bench.operator();
    const { namespace } = bench;
    await bench.apply('life', { deletionPolicy: 'Delete' });
    await bench.ready('life');
    const { server, agentSecret } = objectNames({ namespace, name: 'life' });
    // A create is seen when server-side apply makes what is not there: the API server asks for both verbs.
    const edit = (kind: string, name: string, patch: object) =>
      bench.kubectl.run(['patch', kind, name, '-n', namespace, '--type=merge', '-p', JSON.stringify(patch)]);
    await edit('configmap', server, { data: { 'jwks.json': '{}' } });
    await edit('secret', agentSecret, { data: { 'keys.json': 'e30=' } });
    await bench.apply('life', { deletionPolicy: 'Delete', ttl: { max: '3h' } });
    await eventually(
      'the longer TTL',
      async () => (await bench.agentFiles('life')).settings.maxTTLSeconds === 10_800,
    );
    await bench.kubectl.run(['delete', 'mai', 'life', '-n', namespace, '--timeout=20s']);
    await operator.stop();

    const events = await bench.cluster.readAudit(
      ({ user, verb, objectRef, responseStatus }) =>
        user.username === operatorUser &&
        objectRef?.namespace === namespace &&
        // 404 answers a read that is allowed.
        ((responseStatus?.code ?? 500) < 300 || (verb === 'get' && responseStatus?.code === 404)),
    );
    const used = new Set(
      events.map(({ verb, objectRef }) => {
        const subresource = objectRef?.subresource ? `/${objectRef.subresource}` : '';
        return `${verb} ${objectRef?.apiGroup ?? ''}/${objectRef?.resource}${subresource}`;
      }),
    );
    // Creation by apply is audited as the patch that it is, although the verb create is needed too.
    const byApply = ['apps/deployments', 'policy/poddisruptionbudgets', '/services'];
    for (const resource of byApply) if (used.has(`patch ${resource}`)) used.add(`create ${resource}`);
    expect([...used].sort()).toEqual(await granted());
  }, 180_000);
});
