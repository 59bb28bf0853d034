import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { finalizer, type MacpAuthIssuer } from '../../operator/api/names.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { type AuditEvent, followAuditLog } from '../controlplane/audit.ts';
import { operatorNamespace } from '../integration/policy-cluster.ts';
import { type Bench, eventually, openBench } from '../integration/support.ts';
import { sidecarImage } from '../support/operator.ts';
import { renderPermissions } from '../support/permissions.ts';
import { asked, nameOf, type Permission, permissionsOf, refusalOf, ruleOf, sentence } from './permission.ts';

const role = 'macp-auth-operator-leave';
const granted = permissionsOf(await renderPermissions(['any']), role);
const rbac = { group: 'rbac.authorization.k8s.io', version: 'rbac.authorization.k8s.io/v1' };
const { apiVersion, kind, plural } = resources.issuers;
const nothingElse = `Some resources are remaining: ${plural}.${apiVersion.split('/')[0]} has 1 resource instances`;

/** A namespace with an issuer in it, and its operator, whose role for what is left lacks one permission. */
interface Home {
  namespace: string;
  user: string;
  /** Gives the operator the permissions that the chart gives, but for one. */
  grant(missing?: Permission): Promise<unknown>;
  /** What the operator asked for of that role since its RoleBinding was gone. */
  requests(): Promise<AuditEvent[]>;
  /** Takes all of it away, whatever became of it. */
  close(): Promise<void>;
}

// A namespace that is deleted takes the RoleBinding in it along at no certain moment: here it is gone before.
describe('an operator for some namespaces, whose RoleBinding goes before the namespace does,', () => {
  let bench: Bench;
  const homes: Home[] = [];
  beforeAll(async () => {
    bench = await openBench('leave');
  }, 120_000);
  afterEach(async () => {
    for (const home of homes.splice(0)) await home.close();
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  async function settle(missing: Permission | undefined): Promise<Home> {
    const { kubectl, cluster } = bench;
    const namespace = `${bench.namespace}-${nameOf(missing)}`;
    const user = `system:serviceaccount:${operatorNamespace}:${namespace}`;
    const permissions = permissionsOf(await renderPermissions([namespace]), role);
    const isOfRole = (event: AuditEvent) => permissions.map(sentence).includes(asked(event));
    const apply = (object: object) => kubectl.run(['apply', '-f', '-'], JSON.stringify(object));
    const bind = (to: string, metadata: object) =>
      apply({
        ...{ apiVersion: rbac.version, metadata: { name: namespace, ...metadata } },
        kind: 'namespace' in metadata ? 'RoleBinding' : 'ClusterRoleBinding',
        roleRef: { apiGroup: rbac.group, kind: 'ClusterRole', name: to },
        subjects: [{ kind: 'ServiceAccount', name: namespace, namespace: operatorNamespace }],
      });
    const mayList = () =>
      kubectl.run(['auth', 'can-i', 'list', 'secrets', '--as', user, '-n', namespace]).then(
        () => true,
        () => false,
      );
    const grant = (but?: Permission) =>
      apply({
        ...{ apiVersion: rbac.version, kind: 'ClusterRole', metadata: { name: namespace } },
        rules: permissions.filter((one) => !but || sentence(one) !== sentence(but)).map(ruleOf),
      });

    await kubectl.run(['create', 'namespace', namespace]);
    await kubectl.run(['create', 'serviceaccount', namespace, '-n', operatorNamespace]);
    await grant(missing);
    await bind(namespace, {});
    await bind('macp-auth-operator', { namespace });
    await eventually('the role in force', mayList);
    const operator = bench.operator(
      ['--sidecar-image', sidecarImage, '--namespaces', namespace],
      await bench.kubeconfigOf(namespace),
    );
    await apply({
      apiVersion,
      kind,
      metadata: { name: 'life', namespace },
      spec: { server: { replicas: 1 } },
    });
    await kubectl.run(['wait', '-n', namespace, '--for=condition=Ready', 'mai/life', '--timeout=60s']);
    await kubectl.run(['delete', 'rolebinding', namespace, '-n', namespace]);
    await eventually('the RoleBinding without effect', async () => !(await mayList()));
    const next = followAuditLog(
      cluster.auditLogPath,
      (event) => event.user.username === user && isOfRole(event),
    );
    const seen: AuditEvent[] = [];
    const home: Home = {
      namespace,
      user,
      grant,
      requests: async () => {
        seen.push(...(await next()));
        return seen;
      },
      async close() {
        await grant();
        await kubectl.run(['delete', 'namespace', namespace, '--ignore-not-found', '--timeout=90s']);
        await operator.stop();
        await kubectl.run(['delete', 'clusterrole,clusterrolebinding', namespace]);
        await kubectl.run(['delete', 'serviceaccount', namespace, '-n', operatorNamespace]);
      },
    };
    homes.push(home);
    return home;
  }

  const isRefused = ({ responseStatus }: AuditEvent) => responseStatus?.code === 403;
  const remove = (namespace: string) => bench.kubectl.run(['delete', 'namespace', namespace, '--wait=false']);
  const removed = (namespace: string) =>
    bench.kubectl.run(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=90s']);

  test('may read the namespaces that are named to it, and no other', async () => {
    const rules = permissionsOf(await renderPermissions(['one', 'two']), role);
    const named = rules.filter(({ resource }) => resource === 'namespaces').map(({ names }) => names);
    expect(named).toEqual([['one', 'two']]);
  });

  test('asks for all that the role for this allows, is refused nothing of it, and lets the issuer go', async () => {
    const home = await settle(undefined);
    await remove(home.namespace);
    await removed(home.namespace);
    const requests = await home.requests();
    expect(requests.filter(isRefused)).toEqual([]);
    expect([...new Set(requests.map(asked))].sort()).toEqual(granted.map(sentence).sort());
  }, 180_000);

  test.each(granted.map((permission) => [sentence(permission), permission] as const))(
    'is refused %s where that is missing, and the issuer holds the namespace until it is given',
    async (_, missing) => {
      const home = await settle(missing);
      await remove(home.namespace);
      await eventually('nothing left but the issuer', async () => {
        const { status } = await bench.client.get<
          KubeObject & { status: { conditions?: { type: string; message: string }[] } }
        >(resources.namespaces, undefined, home.namespace);
        const found = status.conditions?.find(({ type }) => type === 'NamespaceContentRemaining');
        if (found?.message === nothingElse) return true;
        throw new Error(found?.message);
      });
      const refused = await eventually('a refusal', async () => {
        const found = (await home.requests()).filter(isRefused);
        return found.length > 0 && found;
      });
      expect([...new Set(refused.map(asked))]).toEqual([sentence(missing)]);
      for (const { responseStatus } of refused)
        expect(responseStatus?.message).toContain(refusalOf(missing, home.user));
      const { metadata } = await bench.client.get<MacpAuthIssuer>(resources.issuers, home.namespace, 'life');
      expect(metadata.finalizers).toEqual([finalizer]);
      await home.grant();
      await removed(home.namespace);
    },
    240_000,
  );
});
