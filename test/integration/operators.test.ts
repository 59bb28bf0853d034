import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { debuggable, holdAt } from '../support/debugger.ts';
import { agentPod } from './agent-pod.ts';
import { type Bench, eventually, openBench } from './support.ts';

describe('operators', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench('operators');
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  test('two at once make one set of keys for each issuer, and settle', async () => {
    const both = [bench.operator(), bench.operator()];
    const names = Array.from({ length: 6 }, (_, i) => `shared-${i}`);
    await Promise.all(names.map((name) => bench.apply(name)));
    for (const name of names) {
      const issuer = await bench.ready(name);
      expect(issuer.status?.keys).toHaveLength(3);
      expect((await bench.agentFiles(name)).keys.map(({ kid }) => kid)).toEqual([issuer.status?.activeKeyID]);
    }
    const creations = (
      await bench.cluster.readAudit(
        ({ verb, objectRef, responseStatus }) =>
          verb === 'create' &&
          objectRef?.namespace === bench.namespace &&
          objectRef.resource === 'secrets' &&
          responseStatus?.code === 201,
      )
    ).map(({ objectRef }) => objectRef?.name);
    expect(creations.filter((name) => name?.startsWith('macp-auth-keyring.')).sort()).toEqual(
      names.map((name) => objectNames({ namespace: bench.namespace, name }).keyring),
    );
    await bench.quiet();
    await Promise.all(both.map((operator) => operator.stop()));
  }, 180_000);

  test('one that decided by an older keyring is refused by its version, and changes nothing', async () => {
    const late = bench.operator(undefined, undefined, debuggable);
    const rotation = {
      interval: '10m',
      verifierCacheTTL: '1s',
      propagation: '1s',
      clockSkew: '1s',
      grace: '5m',
    };
    const spec = { ttl: { default: '1s', max: '1s' }, rotation };
    await bench.apply('overtaken', spec);
    const before = (await bench.ready('overtaken')).status?.activeKeyID;
    const update = 'if (secret) await client.replace(resources.secrets, body);';
    const held = await holdAt(late, 'operator/apply/keyring.ts', update);
    await bench.apply('overtaken', { ...spec, rotation: { ...rotation, rotateNow: 'now' } });
    await held.reached;

    const other = bench.operator();
    await eventually('another active key', async () => {
      const { status } = await bench.issuer('overtaken');
      return status?.activeKeyID !== before;
    });
    await bench.ready('overtaken');
    await bench.quiet();
    const { keyring } = objectNames({ namespace: bench.namespace, name: 'overtaken' });
    const newer = await bench.secret(keyring);
    const refused = () =>
      bench.cluster.readAudit(
        ({ verb, objectRef, responseStatus }) =>
          verb === 'update' &&
          objectRef?.namespace === bench.namespace &&
          objectRef.name === keyring &&
          responseStatus?.code === 409,
      );
    expect(await refused()).toEqual([]);
    held.release();
    await eventually('the refusal', async () => (await refused()).length > 0);
    await bench.quiet();
    expect(await bench.secret(keyring)).toEqual(newer);
    await Promise.all([late.stop(), other.stop()]);
  }, 180_000);

  test('stop in good order on SIGTERM', async () => {
    const operator = bench.operator();
    await bench.apply('stopped');
    await bench.ready('stopped');
    const begun = Date.now();
    expect(await operator.stop()).toBe(0);
    expect(Date.now() - begun).toBeLessThan(5_000);
  }, 120_000);

  test('stop in good order on SIGTERM while their caches cannot be filled', async () => {
    const flags = ['--sidecar-image', 'macp-auth-sidecar:dev'];
    const operator = bench.operator(flags, await bench.kubeconfigOf('default'));
    await eventually('the refusal', async () => operator.output().includes('forbidden'));
    const begun = Date.now();
    expect(await operator.stop()).toBe(0);
    expect(Date.now() - begun).toBeLessThan(5_000);
  });

  test('that start with a bad flag say which, and exit with 1', async () => {
    const operator = bench.operator(['--sidecar-image', 'macp-auth-sidecar:dev', '--probe', 'sideways']);
    expect(await operator.ended).toBe(1);
    expect(operator.output().trim().split('\n')).toEqual([
      'macp-auth-operator: --probe (or MACP_AUTH_OPERATOR_PROBE) must be direct or proxy',
    ]);
  });

  test('serve health, readiness and metrics, and leak no key anywhere', async () => {
    const operator = bench.operator(['--sidecar-image', 'macp-auth-sidecar:dev', '--log-level', 'trace']);
    await bench.apply('silent');
    await bench.ready('silent');
    const mintURL = await agentPod(bench, 'silent');
    const minted = await fetch(mintURL, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sender: 'agent://silent' }),
    });
    const { token } = (await minted.json()) as { token: string };
    const { healthPort } = JSON.parse(
      operator
        .output()
        .split('\n')
        .find((line) => line.includes('"started"')) as string,
    );
    const get = async (path: string) => fetch(`http://127.0.0.1:${healthPort}${path}`);
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).toContain(
      `macp_auth_issuer_condition{namespace="${bench.namespace}",name="silent",type="Ready"} 1`,
    );

    const keyring = await bench.secret(objectNames({ namespace: bench.namespace, name: 'silent' }).keyring);
    const { data } = keyring as unknown as { data: Record<string, string> };
    const decoded = Buffer.from(data['keyring.json'] as string, 'base64').toString();
    const secrets = (JSON.parse(decoded) as { keys: { privateKey: { d: string } }[] }).keys.map(
      ({ privateKey }) => privateKey.d,
    );
    expect(secrets).toHaveLength(3);
    const containers = await bench.containerLogs();
    expect(containers).toContain('agent://silent');
    const told = [
      metrics,
      operator.output(),
      await bench.kubectl.run([
        'get',
        'mai,events,pods,deployments,configmaps',
        '-n',
        bench.namespace,
        '-o',
        'yaml',
      ]),
      containers,
    ].join('\n');
    for (const secret of [...secrets, token, token.split('.')[2] as string]) {
      expect(told.includes(secret)).toBe(false);
      expect(told.includes(Buffer.from(secret).toString('base64').replace(/=+$/, ''))).toBe(false);
      expect(told.includes(Buffer.from(secret, 'base64url').toString('hex'))).toBe(false);
    }
    await operator.stop();
  }, 120_000);
});
