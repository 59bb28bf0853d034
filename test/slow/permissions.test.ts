import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createLimiter } from '../../operator/cluster/limiter.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { type AuditEvent, followAuditLog } from '../controlplane/audit.ts';
import { leaseName } from '../integration/candidates.ts';
import { operatorNamespace, startPolicyCluster } from '../integration/policy-cluster.ts';
import { type Bench, eventually, openBench, operatorUser } from '../integration/support.ts';
import { sidecarImage } from '../support/operator.ts';
import { renderPermissions } from '../support/permissions.ts';
import { leadLife } from './life.ts';
import { asked, nameOf, type Permission, permissionsOf, refusalOf, ruleOf, sentence } from './permission.ts';

/** What lives at a time: an operator's start takes most of a second of a processor. */
const livesAtATime = 3;

/** For all that the operator works on, and for its Lease, in its own namespace. */
const permissions = await renderPermissions();
const granted = ['macp-auth-operator', 'macp-auth-operator-lead'].flatMap((role) =>
  permissionsOf(permissions, role),
);

// Creation by apply is audited as the patch that it is, although the verb create is needed too.
const createdByApply = ['apps/deployments', 'policy/poddisruptionbudgets', '/services'];

/** Whether only an operator for all namespaces asks for it. */
const isForAll = (one?: Permission) => one?.resource === 'namespaces' && one.verb !== 'get';

// The ClusterRole system:discovery lets all who are authenticated read which fields there are.
const isForEveryone = ({ verb, requestURI }: AuditEvent) =>
  verb === 'get' && requestURI === `/openapi/v3/apis/${resources.issuers.apiVersion}`;

let bench: Bench;
beforeAll(async () => {
  bench = await openBench('permissions');
}, 120_000);
afterAll(() => bench?.close(), 60_000);

test('an operator for some namespaces has those that it needs there', async () => {
  const some = permissionsOf(await renderPermissions(['one', 'two']), 'macp-auth-operator');
  const all = permissionsOf(permissions, 'macp-auth-operator');
  expect(some).toEqual(all.filter((permission) => !isForAll(permission)));
});

describe('the shipped permissions are exactly those that are used, and nothing is refused,', () => {
  // Every verb is seen with an answer that is no refusal, in the life of an issuer from its creation to its deletion.
  const expectUse = (events: AuditEvent[], isUsed: (permission: Permission) => boolean = () => true) => {
    // What RBAC refuses, and policies too.
    const refused = events.filter(({ responseStatus }) => [403, 422].includes(responseStatus?.code ?? 0));
    expect(refused.map(asked)).toEqual([]);
    const allowed = events
      .filter((event) => !isForEveryone(event))
      .filter(
        // 404 answers a read that is allowed.
        ({ verb, responseStatus }) =>
          (responseStatus?.code ?? 500) < 300 || (verb === 'get' && responseStatus?.code === 404),
      );
    const used = new Set(allowed.map(asked));
    for (const resource of createdByApply) if (used.has(`patch ${resource}`)) used.add(`create ${resource}`);
    expect([...used].sort()).toEqual(granted.filter(isUsed).map(sentence).sort());
  };
  const isOperator = ({ user }: AuditEvent) => user.username === operatorUser;
  const lease = ['--leader-elect-resource-namespace', operatorNamespace];
  const flags = ['--sidecar-image', sidecarImage, '--leader-elect', 'true', ...lease];
  // Where there is a Lease nobody creates one.
  beforeEach(() =>
    bench.kubectl.run(['delete', 'lease', leaseName, '-n', operatorNamespace, '--ignore-not-found']),
  );

  test('by an operator for some namespaces, which looks at each of these', async () => {
    const { namespace, client } = bench;
    const other = `${namespace}-some`;
    await bench.kubectl.run(['create', 'namespace', other]);
    const events = followAuditLog(bench.cluster.auditLogPath, isOperator);
    const trusting = [...flags, '--trusted-namespaces', namespace];
    const operator = bench.operator([...trusting, '--namespaces', `${namespace},${other}`]);
    // Servers of an issuer that was deleted a moment ago may serve its keys still, so each life has a name of its own.
    await leadLife({ client, namespace, name: 'some', other });
    await operator.stop();
    expectUse(await events(), (permission) => !isForAll(permission));
  }, 180_000);

  test('by one for all namespaces, which follows them', async () => {
    const { namespace, client } = bench;
    const other = `${namespace}-all`;
    await bench.kubectl.run(['create', 'namespace', other]);
    const events = followAuditLog(bench.cluster.auditLogPath, isOperator);
    const operator = bench.clusterOperator([...flags, '--trusted-namespaces', namespace]);
    await leadLife({ client, namespace, name: 'all', other });
    await operator.stop();
    expectUse(await events());
  }, 180_000);

  test("by the same under the chart's policies", async () => {
    const cluster = await startPolicyCluster();
    try {
      await cluster.install();
      const other = await cluster.namespace('agents');
      await leadLife({ client: cluster.client, namespace: operatorNamespace, name: 'life', other });
      await cluster.operatorProcess.stop();
      const events = await cluster.controlPlane.readAudit(isOperator);
      expectUse(events);
    } finally {
      await cluster.close();
    }
  }, 240_000);
});

// Up to the first refusal a life with all permissions but one is that with all of them.
describe('without one of the permissions it is asked for and refused:', () => {
  const label = 'macp-auth-permissions-test';
  const outcomes = new Map<Permission | undefined, Promise<AuditEvent[]>>();

  const namespaceOf = (missing: Permission | undefined) => `${bench.namespace}-${nameOf(missing)}`;
  const userOf = (missing: Permission | undefined) =>
    `system:serviceaccount:${operatorNamespace}:${nameOf(missing)}`;

  /** A namespace and an operator's ServiceAccount, with a role that lacks one permission. */
  const objectsFor = (missing: Permission | undefined): object[] => {
    const name = nameOf(missing);
    const namespace = namespaceOf(missing);
    const rbac = 'rbac.authorization.k8s.io';
    const labels = { [label]: bench.namespace };
    const rules = granted.filter((permission) => permission !== missing).map(ruleOf);
    return [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: operatorNamespace, labels } },
      { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name, labels }, rules },
      {
        apiVersion: `${rbac}/v1`,
        ...(isForAll(missing)
          ? { kind: 'ClusterRoleBinding', metadata: { name, labels } }
          : { kind: 'RoleBinding', metadata: { name, namespace, labels } }),
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
        subjects: [{ kind: 'ServiceAccount', name, namespace: operatorNamespace }],
      },
    ];
  };

  /** The refusals in a life with all permissions but one; it ends with the first. */
  async function refusals(missing: Permission | undefined): Promise<AuditEvent[]> {
    const { client, kubectl } = bench;
    const namespace = namespaceOf(missing);
    const user = userOf(missing);
    const kubeconfig = await bench.kubeconfigOf(nameOf(missing));
    // The API server follows roles as others do: until it knows this one it refuses everything.
    const [first, second] = granted as [Permission, Permission];
    const { verb, resource, group } = missing === first ? second : first;
    const ask = ['auth', 'can-i', verb, `${resource}.${group}`, '--as', user, '-n', namespace];
    await eventually('the role in force', () => kubectl.run(ask));

    const refused: AuditEvent[] = [];
    const next = followAuditLog(
      bench.cluster.auditLogPath,
      (event) => event.user.username === user && event.responseStatus?.code === 403,
    );
    const isRefused = async () => refused.push(...(await next())) > 0;
    // Each asks for a Lease of its own: they live at the same time.
    const election = ['--leader-elect', 'true', '--leader-elect-resource-namespace', namespace];
    const flags = ['--sidecar-image', sidecarImage, ...election];
    const operator = isForAll(missing)
      ? bench.clusterOperator(flags, kubeconfig)
      : bench.operator([...flags, '--namespaces', namespace], kubeconfig);
    try {
      await leadLife({ client, namespace, name: 'life', isOver: isRefused });
    } finally {
      await operator.stop();
    }
    await isRefused();
    // At once, or its servers would keep the machine busy.
    if (await client.find(resources.issuers, namespace, 'life'))
      await client.mergePatch(resources.issuers, namespace, 'life', { metadata: { finalizers: null } });
    await kubectl.run(['delete', 'namespace', namespace, '--wait=false']);
    return refused;
  }

  beforeAll(async () => {
    const cases = [undefined, ...granted];
    const items = cases.flatMap(objectsFor);
    await bench.kubectl.run(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    const begin = (missing: Permission | undefined, run: () => Promise<AuditEvent[]>) => {
      const outcome = run();
      // It is for the test of this permission to fail.
      outcome.catch(() => {});
      outcomes.set(missing, outcome);
      return outcome.catch(() => {});
    };
    // These work in the namespaces of all others too.
    for (const missing of cases.filter(isForAll)) await begin(missing, () => refusals(missing));
    const limit = createLimiter(livesAtATime);
    for (const missing of cases.filter((one) => !isForAll(one)))
      begin(missing, () => limit(() => refusals(missing)));
  }, 120_000);
  afterAll(async () => {
    await Promise.allSettled(outcomes.values());
    const kinds = 'clusterroles,clusterrolebindings,serviceaccounts';
    await bench.kubectl.run([
      ...['delete', kinds, '-n', operatorNamespace, '-l', `${label}=${bench.namespace}`],
    ]);
  }, 240_000);

  test('nothing is, where none of them is missing', async () => {
    expect((await outcomes.get(undefined))?.map(asked)).toEqual([]);
  }, 240_000);

  test.each(granted.map((permission) => [sentence(permission), permission] as const))(
    '%s',
    async (_, missing) => {
      const refused = (await outcomes.get(missing)) ?? [];
      const { verb, group, resource } = missing;
      const byApply = verb === 'create' && createdByApply.includes(`${group}/${resource}`);
      const seen = byApply ? { ...missing, verb: 'patch' } : missing;
      expect([...new Set(refused.map(asked))]).toEqual([sentence(seen)]);
      // It is the role that refuses, and not a policy or a namespace that is going. The log has no message of a request for
      // metadata alone.
      for (const { responseStatus, annotations } of refused) {
        if (responseStatus?.message === undefined) {
          expect(annotations?.['authorization.k8s.io/decision']).toBe('forbid');
          continue;
        }
        expect(responseStatus.message).toContain(refusalOf(missing, userOf(missing)));
      }
    },
    240_000,
  );
});
