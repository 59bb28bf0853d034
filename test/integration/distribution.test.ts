import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MacpAuthIssuer, objectNames } from '../../operator/api/names.ts';
import { ApiClient } from '../../operator/cluster/client.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { generateKey } from '../../operator/plan/generate.ts';
import { isWrite } from '../controlplane/audit.ts';
import { type ControlPlane, kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { type Kubelet, startKubelet } from '../kubelet/kubelet.ts';
import { applyPrerequisites, serviceAccountKubeconfig } from '../local/cluster.ts';
import { type Kubectl, kubectlFor } from '../local/kubectl.ts';
import { type OperatorProcess, sidecarCommand, sidecarImage, startOperator } from '../support/operator.ts';
import { agentPod } from './agent-pod.ts';
import { eventually, operatorUser } from './support.ts';

const log = (line: string) => process.stderr.write(`${line}\n`);

const spec = {
  server: { replicas: 1 },
  ttl: { default: '1s', max: '1s' },
  rotation: { interval: '10m', verifierCacheTTL: '1s', propagation: '1s', clockSkew: '1s', grace: '5m' },
};
const selecting = (namespaceSelector: object) => ({ ...spec, agents: { namespaceSelector } });
const inTeam = (team: string) => selecting({ matchLabels: { team } });

// The operator works in all namespaces, so that it needs a cluster of its own.
describe('keys in other namespaces', () => {
  let controlPlane: ControlPlane;
  let kubelet: Kubelet;
  let kubectl: Kubectl;
  let client: ApiClient;
  let dir: string;
  let kubeconfigPath: string;
  let operator: OperatorProcess;

  const start = (
    flags: readonly string[] = ['--trusted-namespaces', 'platform'],
    env: Record<string, string> = {},
  ) =>
    startOperator({
      env,
      kubeconfigPath,
      logFile: join(dir, 'operator.log'),
      flags: ['--sidecar-image', sidecarImage, ...flags],
    });

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'macp-distribution-'));
    controlPlane = await startControlPlane({ log });
    kubelet = await startKubelet({
      kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
      images: { [sidecarImage]: sidecarCommand, host: [] },
      log,
    });
    kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
    client = new ApiClient(controlPlane.kubeConfig);
    await applyPrerequisites(kubectl);
    kubeconfigPath = await serviceAccountKubeconfig(kubectl, dir);
    await namespace('platform', {});
    operator = start();
  }, 180_000);
  afterAll(async () => {
    await operator?.stop();
    await kubelet?.stop();
    await controlPlane?.stop();
    await rm(dir, { recursive: true, force: true });
  }, 60_000);

  const applyObject = (object: object) => kubectl.run(['apply', '-f', '-'], JSON.stringify(object));
  const namespace = (name: string, labels: Record<string, string>) =>
    applyObject({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  const label = (name: string, ...labels: string[]) =>
    kubectl.run(['label', 'namespace', name, '--overwrite', ...labels]);
  const apply = (name: string, issuerSpec: object, ns = 'platform') =>
    applyObject({
      apiVersion: resources.issuers.apiVersion,
      kind: resources.issuers.kind,
      metadata: { name, namespace: ns },
      spec: issuerSpec,
    });
  const issuer = (name: string, ns = 'platform') => client.get<MacpAuthIssuer>(resources.issuers, ns, name);
  const condition = async (name: string, type: string, ns = 'platform') =>
    (await issuer(name, ns)).status?.conditions?.find((one) => one.type === type);
  const until = (name: string, type: string, reason: string, ns = 'platform', seconds = 60) =>
    eventually(
      `${type} of ${name}: ${reason}`,
      async () => {
        const found = await condition(name, type, ns);
        if (found?.reason === reason) return found;
        throw new Error(JSON.stringify(found));
      },
      seconds,
    );
  const secretIn = (name: string, ns: string, of = 'platform') =>
    client.find(resources.secrets, ns, objectNames({ namespace: of, name }).agentSecret);
  const file = (secret: KubeObject | undefined, name: string) =>
    JSON.parse(
      Buffer.from((secret?.data as Record<string, string> | undefined)?.[name] ?? '', 'base64').toString(),
    );
  const kidsIn = async (name: string, ns: string): Promise<string[]> =>
    file(await secretIn(name, ns), 'keys.json').keys.map(({ kid }: { kid: string }) => kid);
  const holders = async (name: string, of = 'platform') => {
    const { items } = await client.list(resources.secrets, undefined, {});
    const { agentSecret } = objectNames({ namespace: of, name });
    return items
      .filter(({ metadata }) => metadata.name === agentSecret)
      .map(({ metadata }) => metadata.namespace)
      .sort();
  };
  const heldBy = (name: string, ...expected: string[]) =>
    eventually(`Secrets in ${expected.join(', ')}`, async () => {
      const found = await holders(name);
      if (JSON.stringify(found) === JSON.stringify(expected.toSorted())) return true;
      throw new Error(found.join(', '));
    });
  const writes = async () =>
    (await controlPlane.readAudit((event) => isWrite(event) && event.user.username === operatorUser)).map(
      ({ verb, objectRef }) => `${verb} ${objectRef?.resource} ${objectRef?.namespace}/${objectRef?.name}`,
    );

  describe('a bad selector is refused with a message that says why', () => {
    test.each<[string, object, RegExp]>([
      ['a label key', { matchLabels: { 'no key': 'a' } }, /matchLabels must have label keys/],
      ['a label value', { matchLabels: { team: 'a b' } }, /matchLabels\.team/],
      [
        'an operator',
        { matchExpressions: [{ key: 'team', operator: 'Is', values: ['a'] }] },
        /Unsupported value: "Is"/,
      ],
      [
        'no values for In',
        { matchExpressions: [{ key: 'team', operator: 'In' }] },
        /need values for the operators In and NotIn/,
      ],
      [
        'values for Exists',
        { matchExpressions: [{ key: 'team', operator: 'Exists', values: ['a'] }] },
        /none for Exists and DoesNotExist/,
      ],
      [
        'a key of an expression',
        { matchExpressions: [{ key: '-', operator: 'Exists' }] },
        /matchExpressions\[0\]\.key/,
      ],
      ['another member', { names: ['a'] }, /unknown field "spec\.agents\.namespaceSelector\.names"/],
    ])('%s', async (_, selector, message) => {
      await expect(apply('bad', selecting(selector))).rejects.toThrow(message);
    });
  });

  test('come with their labels and go with them, one Secret each, and are minted with', async () => {
    for (const name of ['red-1', 'red-2']) await namespace(name, { team: 'red' });
    await namespace('blue-1', { team: 'blue' });
    await apply('red', inTeam('red'));
    await until('red', 'Ready', 'Ready');
    await heldBy('red', 'platform', 'red-1', 'red-2');
    const { status } = await issuer('red');
    expect(status?.namespaces).toBe(3);
    expect((await condition('red', 'Distributed'))?.message).toBe(
      'Secret macp-auth.platform.red holds the keys in 3 of 3 namespaces',
    );
    const secret = await secretIn('red', 'red-1');
    expect(secret?.metadata).not.toHaveProperty('ownerReferences');
    expect(secret?.metadata).not.toHaveProperty('finalizers');
    expect(secret?.data).toEqual((await secretIn('red', 'platform'))?.data);
    const wide = await kubectl.run(['get', 'mai', 'red', '-n', 'platform', '-o', 'wide']);
    expect(wide).toMatch(/NAMESPACES[\s\S]* 3 /);

    const bench = { namespace: 'red-2', kubectl, client };
    const url = await agentPod(bench, 'red', 'agent', 'platform.red');
    const body = JSON.stringify({ sender: 'agent://red' });
    const minted = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const { token } = (await minted.json()) as { token: string };
    const header = JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString());
    expect(header.kid).toBe(status?.activeKeyID);

    await namespace('red-3', { team: 'red' });
    await label('blue-1', 'team=red');
    await heldBy('red', 'platform', 'red-1', 'red-2', 'red-3', 'blue-1');
    // Drift is repaired there too.
    await kubectl.run([
      ...['patch', 'secret', 'macp-auth.platform.red', '-n', 'red-3', '--type=merge'],
      ...['-p', JSON.stringify({ data: { 'settings.json': 'e30=' } })],
    ]);
    await eventually(
      'the repair',
      async () => file(await secretIn('red', 'red-3'), 'settings.json').role === 'mint',
    );
    // A longer lifetime reaches all.
    await apply('red', { ...inTeam('red'), ttl: { default: '1s', max: '2s' } });
    for (const name of ['platform', 'red-1', 'red-2', 'red-3', 'blue-1'])
      await eventually(
        'the setting',
        async () => file(await secretIn('red', name), 'settings.json').maxTTLSeconds === 2,
      );
    await until('red', 'Ready', 'Ready');
    await kubectl.run(['delete', 'mai', 'red', '-n', 'platform', '--timeout=20s']);
    expect(await holders('red')).toEqual([]);
  }, 120_000);

  test('cost one write for each namespace, and none where the spec changes in nothing that they hold', async () => {
    const spaces = ['brown-1', 'brown-2', 'brown-3', 'brown-4', 'brown-5'];
    for (const name of spaces) await namespace(name, { team: 'brown' });
    // Pods of other tests may still be told that their issuer is gone.
    const ofBrown = async () => (await writes()).filter((write) => write.includes('brown'));
    const settled = async () => {
      let before = await ofBrown();
      return eventually('three quiet seconds', async () => {
        await sleep(3_000);
        const now = await ofBrown();
        const isQuiet = now.length === before.length;
        before = now;
        return isQuiet && now;
      });
    };
    const none = await settled();
    await apply('brown', inTeam('brown'));
    await until('brown', 'Ready', 'Ready');
    const created = await settled();
    const isElsewhere = (write: string) => spaces.some((space) => write.includes(` ${space}/`));
    const made = created.slice(none.length);
    expect(made.filter(isElsewhere).sort()).toEqual(
      spaces.map((space) => `create secrets ${space}/macp-auth.platform.brown`),
    );
    // As many as an issuer takes that has no agents elsewhere.
    const own = made.filter((write) => !isElsewhere(write));
    expect({ own, atMost: 12 }).toEqual({ own: own.slice(0, 12), atMost: 12 });

    for (const replicas of [2, 1, 2]) {
      await apply('brown', { ...inTeam('brown'), server: { replicas } });
      await eventually('the spec acted on', async () => {
        const { metadata, status } = await issuer('brown');
        return status?.observedGeneration === metadata.generation;
      });
    }
    await until('brown', 'Ready', 'Ready');
    const edited = (await settled()).slice(created.length);
    expect(edited.filter((write) => / (secrets|configmaps) /.test(write))).toEqual([]);
    expect(edited.filter((write) => write.includes(' deployments '))).toHaveLength(3);

    // The operator's restart finds nothing to write either.
    await operator.stop();
    const said = operator.output().length;
    operator = start();
    await eventually('the start', async () => operator.output().slice(said).includes('"started"'));
    expect((await settled()).slice(created.length + edited.length)).toEqual([]);
    await kubectl.run(['delete', 'mai', 'brown', '-n', 'platform', '--timeout=20s']);
  }, 120_000);

  test('never come into kube- namespaces, and with {} into all others', async () => {
    await apply('all', selecting({}));
    await until('all', 'Ready', 'Ready');
    const { items } = await client.list(resources.namespaces, undefined, {});
    const names = items.map(({ metadata }) => metadata.name).filter((name) => !name.startsWith('kube-'));
    await heldBy('all', ...names);
    await label('kube-system', 'team=red');
    await apply('kube', selecting({ matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } }));
    await until('kube', 'Ready', 'Ready');
    expect(await holders('kube')).toEqual(['platform']);
    await kubectl.run(['delete', 'mai', 'all', 'kube', '-n', 'platform', '--timeout=20s']);
  }, 120_000);

  test('are not for an issuer that nobody trusts, which says what to do', async () => {
    await namespace('stranger', {});
    await namespace('victim', { team: 'victim' });
    await apply('sly', inTeam('victim'), 'stranger');
    const told = await until('sly', 'Accepted', 'NamespaceSelectorNotAllowed', 'stranger');
    expect(told.message).toMatch(
      /--trusted-namespaces, now platform.*have stranger added, or remove the field/,
    );
    await until('sly', 'Distributed', 'AllNamespacesCurrent', 'stranger');
    expect(await holders('sly', 'stranger')).toEqual(['stranger']);
    await apply('sly', spec, 'stranger');
    await until('sly', 'Ready', 'Ready', 'stranger');
    await kubectl.run(['delete', 'mai', 'sly', '-n', 'stranger', '--timeout=20s']);
  }, 120_000);

  test("leave a stranger's Secret of that name as it is, and go on to the other namespaces", async () => {
    for (const name of ['green-1', 'green-2']) await namespace(name, { team: 'green' });
    const theirs = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: 'macp-auth.platform.green',
        namespace: 'green-1',
        labels: { 'auth.multiagentcoordinationprotocol.io/issuer': 'platform.green' },
      },
      stringData: { mine: 'yes' },
    };
    await applyObject(theirs);
    const before = await secretIn('green', 'green-1');
    await apply('green', inTeam('green'));
    const told = await until('green', 'Distributed', 'NamespaceConflict');
    await until('green', 'Ready', 'Ready');
    expect(told.message).toMatch(
      /in 2 of 3 namespaces\. green-1: Secret green-1\/macp-auth\.platform\.green exists/,
    );
    expect(await kidsIn('green', 'green-2')).toEqual([(await issuer('green')).status?.activeKeyID]);
    expect(await secretIn('green', 'green-1')).toEqual(before);
    await kubectl.run(['delete', 'secret', 'macp-auth.platform.green', '-n', 'green-1']);
    // Nothing of ours tells that it went, so it takes until the next look.
    await until('green', 'Distributed', 'AllNamespacesCurrent', 'platform', 90);
    expect((await issuer('green')).status?.namespaces).toBe(3);
    await kubectl.run(['delete', 'mai', 'green', '-n', 'platform', '--timeout=20s']);
  }, 120_000);

  test('that a namespace forged do not outlive a lost keyring; those that status names do', async () => {
    for (const name of ['gold-1', 'gold-2']) await namespace(name, { team: 'gold' });
    await apply('gold', inTeam('gold'));
    await until('gold', 'Ready', 'Ready');
    await heldBy('gold', 'platform', 'gold-1', 'gold-2');
    const active = (await issuer('gold')).status?.activeKeyID as string;
    await operator.stop();
    const forged = await generateKey('ES256');
    const secret = (await secretIn('gold', 'gold-1')) as KubeObject;
    const [key] = file(secret, 'keys.json').keys;
    const keys = [
      { ...key, kid: forged.kid, privateKey: forged.privateKey },
      { ...key, privateKey: forged.privateKey },
    ];
    const data = { 'keys.json': Buffer.from(JSON.stringify({ keys })).toString('base64') };
    await client.mergePatch(resources.secrets, 'gold-1', secret.metadata.name, {
      metadata: {
        annotations: { 'auth.multiagentcoordinationprotocol.io/keyring-revision': '999999999999' },
      },
      data,
    });
    await kubectl.run([
      ...['delete', 'secret', '-n', 'platform'],
      ...[objectNames({ namespace: 'platform', name: 'gold' }).keyring, secret.metadata.name],
    ]);
    operator = start();
    await eventually('the rebuilt keyring', async () => (await kidsIn('gold', 'gold-1'))[0] === active);
    const { status } = await until('gold', 'Ready', 'Ready').then(() => issuer('gold'));
    expect(status?.activeKeyID).toBe(active);
    expect(status?.keys?.map(({ keyID }) => keyID)).not.toContain(forged.kid);
    for (const ns of ['platform', 'gold-1', 'gold-2']) expect(await kidsIn('gold', ns)).toEqual([active]);
    await kubectl.run(['delete', 'mai', 'gold', '-n', 'platform', '--timeout=20s']);
  }, 120_000);

  test('of an issuer that was deleted and created again reach the pods that ran all the while', async () => {
    await namespace('mauve-1', { team: 'mauve' });
    const mauve = (max: string) => ({
      ...inTeam('mauve'),
      ttl: { default: '1s', max },
      deletionPolicy: 'Delete',
    });
    await apply('mauve', mauve('1s'));
    await until('mauve', 'Ready', 'Ready');
    // Each longer lifetime is recorded in the keyring, so that the pod has more than its first revision.
    for (const seconds of [2, 3, 4]) {
      await apply('mauve', mauve(`${seconds}s`));
      await eventually(
        'the setting',
        async () => file(await secretIn('mauve', 'mauve-1'), 'settings.json').maxTTLSeconds === seconds,
      );
    }
    const bench = { namespace: 'mauve-1', kubectl, client };
    const url = await agentPod(bench, 'mauve', 'agent', 'platform.mauve');
    const body = JSON.stringify({ sender: 'agent://mauve' });
    const headers = { 'content-type': 'application/json' };
    const minted = async () => {
      const { token } = (await (await fetch(url, { method: 'POST', headers, body })).json()) as {
        token: string;
      };
      return JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid as string;
    };
    const before = (await issuer('mauve')).status?.activeKeyID;
    expect(await minted()).toBe(before);
    const podBefore = await client.get(resources.pods, 'mauve-1', 'agent');

    await kubectl.run(['delete', 'mai', 'mauve', '-n', 'platform', '--timeout=20s']);
    expect(await holders('mauve')).toEqual([]);
    await apply('mauve', mauve('1s'));
    await until('mauve', 'Ready', 'Ready');
    const now = (await issuer('mauve')).status?.activeKeyID as string;
    expect(now).not.toBe(before);
    await eventually('a token of the new key', async () => (await minted()) === now);
    const configMap = await client.get(resources.configMaps, 'platform', 'macp-auth-mauve');
    const { keys } = JSON.parse((configMap.data as Record<string, string>)['jwks.json'] as string);
    expect(keys.map(({ kid }: { kid: string }) => kid)).toContain(now);
    const { metadata, status } = await client.get(resources.pods, 'mauve-1', 'agent');
    expect(metadata.uid).toBe(podBefore.metadata.uid);
    const { initContainerStatuses } = status as { initContainerStatuses: { restartCount: number }[] };
    expect(initContainerStatuses.map(({ restartCount }) => restartCount)).toEqual([0]);
    await kubectl.run(['delete', 'mai', 'mauve', '-n', 'platform', '--timeout=20s']);
  }, 120_000);

  describe('of a deselected namespace', () => {
    const rotates = async (name: string, active: string) => {
      const committed = await eventually('a rotation', async () => {
        const { status } = await issuer(name);
        return status?.activeKeyID !== active && status;
      });
      return committed.activeKeyID as string;
    };

    test('go with its Secret, are replaced, and are revoked when no other needs them', async () => {
      for (const name of ['grey-1', 'grey-2']) await namespace(name, { team: 'grey' });
      await apply('grey', inTeam('grey'));
      await until('grey', 'Ready', 'Ready');
      await heldBy('grey', 'platform', 'grey-1', 'grey-2');
      const active = (await issuer('grey')).status?.activeKeyID as string;
      expect(await condition('grey', 'KeysConfined')).toMatchObject({ status: 'True' });

      await label('grey-1', 'team-');
      await heldBy('grey', 'platform', 'grey-2');
      expect((await until('grey', 'KeysConfined', 'DeselectedNamespaceCanMint')).message).toContain('grey-1');
      const next = await rotates('grey', active);
      const retired = await eventually('safeToRevokeTime', async () =>
        (await issuer('grey')).status?.keys?.find((key) => key.keyID === active && key.safeToRevokeTime),
      );
      const safe = Date.parse(retired?.safeToRevokeTime as string);
      const told = await until('grey', 'KeysConfined', 'DeselectedNamespaceCanMint');
      const end = Date.parse(/until (\S+): grey-1/.exec(told.message)?.[1] ?? '');
      expect(end).toBeGreaterThan(safe);
      await eventually('the switch is over', async () => {
        const kids = await kidsIn('grey', 'grey-2');
        return kids.length === 1 && kids[0] === next;
      });
      expect((await issuer('grey')).status?.namespaces).toBe(2);

      await sleep(Math.max(0, safe - Date.now() - 2_000));
      expect((await issuer('grey')).status?.keys?.find((key) => key.keyID === active)?.state).toBe('Retired');
      const revoked = await eventually('its revocation', async () =>
        (await issuer('grey')).status?.keys?.find((key) => key.keyID === active && key.state === 'Revoked'),
      );
      expect(Date.parse(revoked?.removalTime as string)).toBeGreaterThanOrEqual(safe);
      await until('grey', 'KeysConfined', 'KeysConfined');
      const before = await writes();
      await sleep(3_000);
      expect((await writes()).slice(before.length)).toEqual([]);
      await kubectl.run(['delete', 'mai', 'grey', '-n', 'platform', '--timeout=20s']);
    }, 180_000);

    test('are replaced although the operator was away, and the Secret was taken meanwhile', async () => {
      for (const name of ['pink-1', 'pink-2']) await namespace(name, { team: 'pink' });
      await apply('pink', inTeam('pink'));
      await until('pink', 'Ready', 'Ready');
      await heldBy('pink', 'platform', 'pink-1', 'pink-2');
      const active = (await issuer('pink')).status?.activeKeyID as string;
      operator.signal('SIGKILL');
      await operator.ended;
      await label('pink-1', 'team-');
      await kubectl.run(['delete', 'secret', '-n', 'pink-1', 'macp-auth.platform.pink']);
      operator = start();
      await until('pink', 'KeysConfined', 'DeselectedNamespaceCanMint');
      await rotates('pink', active);
      await kubectl.run(['delete', 'mai', 'pink', '-n', 'platform', '--timeout=20s']);
    }, 120_000);

    test('stay as they are when it is deleted, which nothing of ours holds up', async () => {
      for (const name of ['teal-1', 'teal-2']) await namespace(name, { team: 'teal' });
      await apply('teal', inTeam('teal'));
      await until('teal', 'Ready', 'Ready');
      await heldBy('teal', 'platform', 'teal-1', 'teal-2');
      const active = (await issuer('teal')).status?.activeKeyID as string;
      await kubectl.run(['delete', 'namespace', 'teal-1', '--timeout=60s']);
      await eventually('2 of 2', async () =>
        (await condition('teal', 'Distributed'))?.message.includes('in 2 of 2 namespaces'),
      );
      await sleep(3_000);
      const { status } = await issuer('teal');
      expect(status?.activeKeyID).toBe(active);
      expect(await condition('teal', 'KeysConfined')).toMatchObject({ status: 'True' });
      expect(await condition('teal', 'RotationOnTime')).toMatchObject({ reason: 'NotDue' });
      await kubectl.run(['delete', 'mai', 'teal', '-n', 'platform', '--timeout=20s']);
    }, 120_000);
  });

  test('go with the namespace of the issuer, which its finalizer does not hold up', async () => {
    await operator.stop();
    operator = start(['--trusted-namespaces', 'passing']);
    await namespace('passing', {});
    await namespace('lime-1', { team: 'lime' });
    await apply('lime', inTeam('lime'), 'passing');
    await until('lime', 'Ready', 'Ready', 'passing');
    expect(await holders('lime', 'passing')).toEqual(['lime-1', 'passing']);
    await kubectl.run(['delete', 'namespace', 'passing', '--timeout=60s']);
    await eventually('no Secret left', async () => (await holders('lime', 'passing')).length === 0);
  }, 120_000);

  test('go with the namespace of the operator itself, although nobody is left to let its issuers go', async () => {
    await operator.stop();
    await namespace('home', {});
    // The issuers beside it are trusted without being named.
    operator = start([], { POD_NAMESPACE: 'home' });
    await namespace('olive-1', { team: 'olive' });
    await apply('olive', inTeam('olive'), 'home');
    await until('olive', 'Ready', 'Ready', 'home');
    expect(await holders('olive', 'home')).toEqual(['home', 'olive-1']);
    operator.signal('SIGSTOP');
    await kubectl.run(['delete', 'namespace', 'home', '--wait=false']);
    operator.signal('SIGTERM');
    operator.signal('SIGCONT');
    expect(await operator.ended).toBe(0);
    await kubectl.run(['wait', '--for=delete', 'namespace/home', '--timeout=60s']);
    expect(await holders('olive', 'home')).toEqual([]);
  }, 120_000);
});
