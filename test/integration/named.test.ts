import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { labels, objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import { sidecarImage } from '../support/operator.ts';
import { renderPermissions, rulesOf } from '../support/permissions.ts';
import { type Bench, eventually, openBench } from './support.ts';

const key = 'kubernetes.io/metadata.name';

// An operator without a permission for the whole cluster: the chart's role, bound in some namespaces alone.
describe('an operator for some namespaces', () => {
  let bench: Bench;
  let account: string;
  const spaces: string[] = [];

  beforeAll(async () => {
    bench = await openBench('named');
    account = bench.namespace;
    spaces.push(...['a', 'b', 'dark'].map((suffix) => `${bench.namespace}-${suffix}`));
    for (const name of spaces) {
      await bench.kubectl.run(['create', 'namespace', name]);
      await bench.kubectl.run(['label', 'namespace', name, 'team=named']);
    }
    await bench.kubectl.run(['create', 'serviceaccount', account, '-n', 'macp-auth-system']);
    const rules = rulesOf(await renderPermissions([bench.namespace, ...spaces]), 'macp-auth-operator');
    const metadata = { name: account };
    await applyObject({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata, rules });
    for (const name of [bench.namespace, ...spaces.slice(0, 2)]) await bind(name);
  }, 120_000);
  afterAll(async () => {
    await bench?.close();
    await bench?.kubectl.run(['delete', 'namespace', '--wait=false', ...spaces]);
    await bench?.kubectl.run([
      ...['delete', 'clusterrole', account, `${account}-leave`, '--ignore-not-found'],
    ]);
    await bench?.kubectl.run(['delete', 'clusterrolebinding', account, '--ignore-not-found']);
  }, 60_000);

  const applyObject = (object: object) => bench.kubectl.run(['apply', '-f', '-'], JSON.stringify(object));
  const bind = (namespace: string) =>
    applyObject({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: account, namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: account },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace: 'macp-auth-system' }],
    });
  const selecting = (namespaceSelector: object) => ({
    server: { replicas: 1 },
    agents: { namespaceSelector },
  });
  const condition = (name: string, type: string, reason: string, message: RegExp) =>
    eventually(`${type} ${reason}`, async () => {
      const { status } = await bench.issuer(name);
      const found = status?.conditions?.find((one) => one.type === type);
      if (found?.reason === reason && message.test(found.message)) return found;
      throw new Error(JSON.stringify(found));
    });
  // A pod that no kubelet runs, and what the operator says of it.
  const told = async (pod: string, namespace: string, { name, reason }: { name: string; reason: string }) => {
    const metadata = { name: pod, namespace, labels: { [labels.issuer]: `${bench.namespace}.${name}` } };
    const spec = { nodeName: 'none', containers: [{ name: 'agent', image: 'host' }] };
    await applyObject({ apiVersion: 'v1', kind: 'Pod', metadata, spec });
    await eventually(`${reason} of ${pod}`, async () => {
      const { items } = await bench.client.list(resources.events, namespace, {});
      const events = items as unknown as { reason: string; regarding: { name: string } }[];
      return events.some((event) => event.reason === reason && event.regarding.name === pod);
    });
  };
  const secretIn = (name: string, namespace: string) => {
    const { agentSecret } = objectNames({ namespace: bench.namespace, name });
    return bench.client.find({ apiVersion: 'v1', kind: 'Secret', plural: 'secrets' }, namespace, agentSecret);
  };

  test('needs no more than roles there, follows labels, and says of one without a role that it lacks it', async () => {
    const [a, b, dark] = spaces as [string, string, string];
    const flags = ['--sidecar-image', sidecarImage, '--trusted-namespaces', bench.namespace];
    const watched = ['--namespaces', [bench.namespace, ...spaces].join(',')];
    const operator = bench.operator([...flags, ...watched], await bench.kubeconfigOf(account));
    await bench.apply('named', selecting({ matchLabels: { team: 'named' } }));
    // What the labels of the one without a role are cannot be told, so it has no keys.
    const issuer = await bench.ready('named');
    await told('lost', a, { name: 'absent', reason: 'IssuerNotFound' });
    const port = /"healthPort":(\d+)/.exec(operator.output())?.[1];
    await eventually('it ready', async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok);
    expect(issuer.status?.namespaces).toBe(3);
    for (const name of [bench.namespace, a, b]) expect(await secretIn('named', name)).toBeDefined();
    expect(await secretIn('named', dark)).toBeUndefined();

    await bench.kubectl.run(['label', 'namespace', b, 'team-']);
    await eventually('it deselected', async () => (await secretIn('named', b)) === undefined);
    await condition('named', 'KeysConfined', 'DeselectedNamespaceCanMint', new RegExp(b));

    // By name it is known, and what is missing is said; the others go on.
    await bench.apply('named', selecting({ matchExpressions: [{ key, operator: 'In', values: [a, dark] }] }));
    await condition(
      'named',
      'Distributed',
      'NamespaceWriteFailed',
      new RegExp(`in 2 of 3 namespaces\\. ${dark}: secrets is forbidden.*in the namespace "${dark}"`),
    );
    await bind(dark);
    await eventually('its Secret', () => secretIn('named', dark), 120);
    await condition('named', 'Distributed', 'AllNamespacesCurrent', /in 3 of 3/);

    const outside = `${bench.namespace}-outside`;
    await bench.apply(
      'named',
      selecting({ matchExpressions: [{ key, operator: 'In', values: [a, outside] }] }),
    );
    await condition('named', 'Accepted', 'NamespaceNotWatched', new RegExp(`--namespaces\\): ${outside}`));
    await bench.kubectl.run(['delete', 'mai', 'named', '-n', bench.namespace, '--timeout=20s']);
    for (const name of [bench.namespace, ...spaces]) expect(await secretIn('named', name)).toBeUndefined();
    await operator.stop();
  }, 240_000);

  // The role in a namespace goes with it, and no finalizer can be given up without.
  test('lets the issuers of a namespace go that is deleted with its role, by the role of the chart that stays', async () => {
    const [a] = spaces as [string];
    const homes = [1, 2, 3].map((n) => `${bench.namespace}-home-${n}`);
    const leave = `${account}-leave`;
    const rules = rulesOf(await renderPermissions([...homes, a]), 'macp-auth-operator-leave');
    const rbac = { group: 'rbac.authorization.k8s.io', kind: 'ClusterRole' };
    const apiVersionOfRoles = `${rbac.group}/v1`;
    await applyObject({ apiVersion: apiVersionOfRoles, kind: rbac.kind, metadata: { name: leave }, rules });
    await applyObject({
      apiVersion: apiVersionOfRoles,
      kind: 'ClusterRoleBinding',
      metadata: { name: account },
      roleRef: { apiGroup: rbac.group, kind: rbac.kind, name: leave },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace: 'macp-auth-system' }],
    });
    for (const home of homes) {
      await bench.kubectl.run(['create', 'namespace', home]);
      await bind(home);
    }
    const watched = ['--namespaces', [...homes, a].join(',')];
    const flags = ['--sidecar-image', sidecarImage, '--trusted-namespaces', homes.join(',')];
    const operator = bench.operator([...flags, ...watched], await bench.kubeconfigOf(account));
    const spec = selecting({ matchLabels: { [key]: a } });
    const { apiVersion, kind } = resources.issuers;
    for (const namespace of homes)
      await applyObject({ apiVersion, kind, metadata: { name: 'passing', namespace }, spec });
    const held = (namespace: string) =>
      bench.client.find(resources.secrets, a, objectNames({ namespace, name: 'passing' }).agentSecret);
    for (const home of homes) {
      await bench.kubectl.run([
        ...['wait', '--for=condition=Ready', 'mai/passing', '-n', home, '--timeout=60s'],
      ]);
      expect(await held(home)).toBeDefined();
    }
    for (const home of homes) await bench.kubectl.run(['delete', 'namespace', home, '--timeout=60s']);
    for (const home of homes) expect(await held(home)).toBeUndefined();
    await operator.stop();
  }, 240_000);
});
