import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { resources } from '../../operator/cluster/resources.ts';
import type { OperatorProcess } from '../support/operator.ts';
import { type Bench, eventually, openBench } from './support.ts';

describe('the keyring', () => {
  let bench: Bench;
  let operator: OperatorProcess;

  beforeAll(async () => {
    bench = await openBench('keyring');
    operator = bench.operator();
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  const keyringOf = (name: string) => objectNames({ namespace: bench.namespace, name }).keyring;
  const agentSecretOf = (name: string) => objectNames({ namespace: bench.namespace, name }).agentSecret;
  const signer = async (name: string) => (await bench.agentFiles(name)).keys.map(({ kid }) => kid);
  const deleteSecret = (secret: string) =>
    bench.kubectl.run(['delete', 'secret', secret, '-n', bench.namespace]);
  const created = async (name: string) => {
    await bench.apply(name);
    return bench.ready(name);
  };
  const rotateNow = (name: string, value: string) =>
    bench.kubectl.run([
      ...['patch', 'mai', name, '-n', bench.namespace, '--type=merge'],
      ...['-p', JSON.stringify({ spec: { rotation: { rotateNow: value } } })],
    ]);
  const condition = async (name: string, type: string) =>
    (await bench.issuer(name)).status?.conditions?.find((candidate) => candidate.type === type);
  const copyOf = async (secret: string) => {
    const object = await bench.secret(secret);
    if (!object) throw new Error(`no Secret ${secret}`);
    const { name, namespace, labels, annotations } = object.metadata;
    return JSON.stringify({ ...object, metadata: { name, namespace, labels, annotations } });
  };

  test('that is deleted by hand is rebuilt around the key that agents hold', async () => {
    const before = await created('deleted');
    await deleteSecret(keyringOf('deleted'));
    await eventually('a rebuilt keyring', () => bench.secret(keyringOf('deleted')));
    const after = await eventually('status about it', async () => {
      const issuer = await bench.issuer('deleted');
      return issuer.status?.keyringRevision !== before.status?.keyringRevision && issuer;
    });
    expect(after.status?.activeKeyID).toBe(before.status?.activeKeyID);
    expect(await signer('deleted')).toEqual([before.status?.activeKeyID]);
    // What was published stays, since tokens of it may be alive, and two new spares are there.
    expect(bench.keyIDs(after)).toEqual(expect.arrayContaining(bench.keyIDs(before)));
    expect(after.status?.keys?.filter(({ state }) => state === 'Next')).toHaveLength(2);
    const events = await bench.kubectl.run(['describe', 'mai', 'deleted', '-n', bench.namespace]);
    expect(events).toMatch(/Warning +KeyringRebuilt/);
  }, 120_000);

  test('that is lost with every copy waits for consent, and goes on publishing', async () => {
    const before = await created('lost');
    const published = await bench.published('lost');
    // Both while nobody is there to mend one from the other.
    await operator.stop();
    const secrets = [keyringOf('lost'), agentSecretOf('lost')];
    await bench.kubectl.run(['delete', 'secret', ...secrets, '-n', bench.namespace]);
    operator = bench.operator();
    await bench.ready('lost', 'KeyringLost');
    expect(await bench.secret(keyringOf('lost'))).toBeUndefined();
    expect(await bench.published('lost')).toEqual(published);
    expect((await condition('lost', 'KeyringReady'))?.message).toMatch(
      /restore Secret .* from a backup, or set spec.rotation.rotateNow/,
    );
    await rotateNow('lost', 'agreed');
    const after = await bench.ready('lost');
    expect(after.status?.activeKeyID).not.toBe(before.status?.activeKeyID);
    expect(await bench.published('lost')).toEqual(expect.arrayContaining(published));
    expect(after.status?.handledRotateNow).toBe('agreed');
  }, 180_000);

  test('that is replaced by an older copy is not believed until there is consent', async () => {
    const first = await created('stale');
    const old = await copyOf(keyringOf('stale'));
    // A longer ttl.max is recorded in the keyring: a newer revision.
    await bench.apply('stale', { ttl: { max: '2h' } });
    const newer = await eventually('a newer revision', async () => {
      const issuer = await bench.issuer('stale');
      return issuer.status?.keyringRevision !== first.status?.keyringRevision && issuer;
    });
    await bench.kubectl.run(['replace', '-f', '-'], old);
    const held = await bench.ready('stale', 'KeyringStale');
    expect(held.status?.activeKeyID).toBe(first.status?.activeKeyID);
    expect(await bench.published('stale')).toEqual(expect.arrayContaining(bench.keyIDs(newer)));
    expect(await signer('stale')).toEqual([first.status?.activeKeyID]);
    await rotateNow('stale', 'yes');
    const after = await bench.ready('stale');
    expect(after.status?.activeKeyID).toBe(first.status?.activeKeyID);
    expect(after.status?.keyringRevision).toBeGreaterThan(newer.status?.keyringRevision as number);
  }, 180_000);

  test('that was edited by hand stops nothing, and says which member is wrong', async () => {
    const before = await created('edited');
    const good = await copyOf(keyringOf('edited'));
    const keyring = JSON.parse(Buffer.from(JSON.parse(good).data['keyring.json'], 'base64').toString());
    keyring.keys[0].privateKey.d = keyring.keys[1].privateKey.d;
    const data = { 'keyring.json': Buffer.from(JSON.stringify(keyring)).toString('base64') };
    await bench.kubectl.run([
      ...[
        'patch',
        'secret',
        keyringOf('edited'),
        '-n',
        bench.namespace,
        '--type=merge',
        '-p',
        JSON.stringify({ data }),
      ],
    ]);
    const held = await bench.ready('edited', 'KeyringUnreadable');
    const described = await bench.kubectl.run(['describe', 'mai', 'edited', '-n', bench.namespace]);
    expect(described).toMatch(/keys\.0 private key, public key, kid and algorithm do not belong together/);
    expect(described).not.toContain(keyring.keys[1].privateKey.d);
    expect(held.status?.activeKeyID).toBe(before.status?.activeKeyID);
    expect(await signer('edited')).toEqual([before.status?.activeKeyID]);
    await bench.kubectl.run(['replace', '-f', '-'], good);
    const after = await bench.ready('edited');
    expect(bench.keyIDs(after)).toEqual(bench.keyIDs(before));
  }, 120_000);

  test('outlives its issuer, and an issuer of the same name goes on with it', async () => {
    const before = await created('again');
    await bench.kubectl.run(['delete', 'mai', 'again', '-n', bench.namespace, '--timeout=20s']);
    expect(await bench.secret(keyringOf('again'))).toBeDefined();
    expect(await bench.secret(agentSecretOf('again'))).toBeUndefined();
    const after = await created('again');
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
    expect(bench.keyIDs(after)).toEqual(bench.keyIDs(before));
    expect(await signer('again')).toEqual([before.status?.activeKeyID]);
  }, 120_000);

  test('that is lost when its issuer is deleted is rebuilt first, for the next issuer of that name', async () => {
    const before = await created('twice');
    await operator.stop();
    await deleteSecret(keyringOf('twice'));
    await bench.kubectl.run(['delete', 'mai', 'twice', '-n', bench.namespace, '--wait=false']);
    operator = bench.operator();
    await eventually(
      'the issuer gone',
      async () => (await bench.client.find(resources.issuers, bench.namespace, 'twice')) === undefined,
    );
    const after = await created('twice');
    expect(after.status?.activeKeyID).toBe(before.status?.activeKeyID);
    expect(await signer('twice')).toEqual([before.status?.activeKeyID]);
  }, 120_000);

  test('goes with its issuer when deletionPolicy says so', async () => {
    await bench.apply('gone', { deletionPolicy: 'Delete' });
    const before = await bench.ready('gone');
    await bench.kubectl.run(['delete', 'mai', 'gone', '-n', bench.namespace, '--timeout=20s']);
    expect(await bench.secret(keyringOf('gone'))).toBeUndefined();
    // At once, while the garbage collector may still be busy with the first one's children.
    await bench.apply('gone', { deletionPolicy: 'Delete' });
    const after = await bench.ready('gone');
    expect(bench.keyIDs(after).some((kid) => bench.keyIDs(before).includes(kid))).toBe(false);
  }, 120_000);

  test('is adopted by an issuer that was restored with a new uid, and its children follow', async () => {
    const before = await created('restored');
    // As a restore does it: the object goes without its finalizer having run.
    await bench.kubectl.run([...['delete', 'mai', 'restored', '-n', bench.namespace, '--wait=false']]);
    await bench.kubectl
      .run([
        'patch',
        'mai',
        'restored',
        '-n',
        bench.namespace,
        '--type=merge',
        '-p',
        '{"metadata":{"finalizers":null}}',
      ])
      .catch(() => undefined);
    await eventually('the old one gone', async () => {
      const found = await bench.client.find(resources.issuers, bench.namespace, 'restored');
      return found?.metadata.uid !== before.metadata.uid;
    });
    const after = await created('restored');
    expect(bench.keyIDs(after)).toEqual(bench.keyIDs(before));
    await eventually('children of the new one', async () => {
      const deployment = await bench.client.find(
        resources.deployments,
        bench.namespace,
        'macp-auth-restored',
      );
      return deployment?.metadata.ownerReferences?.every(({ uid }) => uid === after.metadata.uid);
    });
    await bench.ready('restored');
  }, 120_000);

  test.each([
    ['keyring', (name: string) => keyringOf(name), 'KeyringNameConflict'],
    ['agent Secret', (name: string) => agentSecretOf(name), 'NameConflict'],
  ])(
    "never overwrites a stranger's Secret with the name of the %s",
    async (what, nameOf, reason) => {
      const name = what.replace(' ', '-').toLowerCase();
      const secret = nameOf(name);
      await bench.kubectl.run([
        'create',
        'secret',
        'generic',
        secret,
        '-n',
        bench.namespace,
        '--from-literal=theirs=1',
      ]);
      await bench.apply(name);
      await bench.ready(name, reason);
      expect(Object.keys((await bench.secret(secret))?.data as object)).toEqual(['theirs']);
      await deleteSecret(secret);
      await bench.ready(name);
    },
    60_000,
  );
});
