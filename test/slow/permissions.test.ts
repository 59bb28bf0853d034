import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { objectNames } from '../../operator/api/names.ts';
import type { AuditEvent } from '../controlplane/audit.ts';
import { type Bench, eventually, openBench, operatorUser } from '../integration/support.ts';
import { sidecarImage } from '../support/operator.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

describe('the shipped permissions', () => {
  let bench: Bench;
  const used = new Set<string>();

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

  // Every verb is seen with an answer that is no refusal, in the life of an issuer from its creation to its deletion:
  // once with an operator for some namespaces, which gets these, and once with one for all, which follows them.
  test.each(['some', 'all'])(
    'are exactly those that are used; for %s namespaces none is missing',
    async (which) => {
      const begun = new Date().toISOString();
      const { namespace } = bench;
      const other = `${namespace}-${which}`;
      await bench.kubectl.run(['create', 'namespace', other]);
      const flags = ['--sidecar-image', sidecarImage, '--trusted-namespaces', namespace];
      const operator =
        which === 'all'
          ? bench.clusterOperator(flags)
          : bench.operator([...flags, '--namespaces', `${namespace},${other}`]);
      const key = 'kubernetes.io/metadata.name';
      const agents = { namespaceSelector: { matchLabels: { [key]: other } } };
      const spec = { deletionPolicy: 'Delete', server: { replicas: 1 }, agents };
      await bench.apply('life', spec);
      expect((await bench.ready('life')).status?.namespaces).toBe(2);
      const { server, agentSecret } = objectNames({ namespace, name: 'life' });
      // A create is seen when server-side apply makes what is not there: the API server asks for both verbs.
      const edit = (kind: string, name: string, patch: object) =>
        bench.kubectl.run([
          'patch',
          kind,
          name,
          '-n',
          namespace,
          '--type=merge',
          '-p',
          JSON.stringify(patch),
        ]);
      await edit('configmap', server, { data: { 'jwks.json': '{}' } });
      await edit('secret', agentSecret, { data: { 'keys.json': 'e30=' } });
      await bench.apply('life', { ...spec, ttl: { max: '3h' } });
      await eventually(
        'the longer TTL',
        async () => (await bench.agentFiles('life')).settings.maxTTLSeconds === 10_800,
      );
      await bench.kubectl.run(['delete', 'mai', 'life', '-n', namespace, '--timeout=20s']);
      await operator.stop();

      const events = await bench.cluster.readAudit(
        ({ user, requestReceivedTimestamp }) =>
          user.username === operatorUser && requestReceivedTimestamp >= begun,
      );
      const named = ({ verb, objectRef }: AuditEvent) => {
        const subresource = objectRef?.subresource ? `/${objectRef.subresource}` : '';
        return `${verb} ${objectRef?.apiGroup ?? ''}/${objectRef?.resource}${subresource}`;
      };
      // Without any one of the rules something is refused here.
      expect(events.filter(({ responseStatus }) => responseStatus?.code === 403).map(named)).toEqual([]);
      const allowed = events.filter(
        // 404 answers a read that is allowed.
        ({ verb, responseStatus }) =>
          (responseStatus?.code ?? 500) < 300 || (verb === 'get' && responseStatus?.code === 404),
      );
      for (const event of allowed) used.add(named(event));
      // Creation by apply is audited as the patch that it is, although the verb create is needed too.
      const byApply = ['apps/deployments', 'policy/poddisruptionbudgets', '/services'];
      for (const resource of byApply) if (used.has(`patch ${resource}`)) used.add(`create ${resource}`);
      if (which === 'all') expect([...used].sort()).toEqual(await granted());
    },
    180_000,
  );
});
