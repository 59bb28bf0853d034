import { X509Certificate } from 'node:crypto';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { objectNames } from '../../operator/api/names.ts';
import { jwksPath, serverPorts } from '../../operator/build/server.ts';
import { type KubeObject, resources } from '../../operator/cluster/resources.ts';
import { type Issued, makeAuthority } from '../support/certificates.ts';
import type { OperatorProcess } from '../support/operator.ts';
import { type Bench, eventually, openBench } from './support.ts';

const name = 'web';
const secretName = 'web-tls';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const dataOf = ({ certificate, key }: Issued) => ({ 'tls.crt': base64(certificate), 'tls.key': base64(key) });
const fingerprint = ({ certificate }: Issued) => new X509Certificate(certificate).fingerprint256;

describe('an issuer with server.tls', () => {
  const authority = makeAuthority();
  let bench: Bench;
  let operator: OperatorProcess;
  let host: string;
  let first: Issued;
  let second: Issued;
  let pods: KubeObject[];

  const issue = (notAfter?: Date, ...hosts: string[]): Issued =>
    authority.issue({ hosts: hosts.length > 0 ? hosts : [host], ...(notAfter && { notAfter }) });
  const condition = async (type: string) =>
    (await bench.issuer(name)).status?.conditions?.find((candidate) => candidate.type === type);
  const until = (reason: string) =>
    eventually(`TLSReady with ${reason}`, async () => {
      const found = await condition('TLSReady');
      if (found?.reason === reason) return found;
      throw new Error(JSON.stringify(found));
    });
  const serverPods = async () => {
    const { items } = await bench.client.list(resources.pods, bench.namespace, {
      labelSelector: 'app.kubernetes.io/component=jwks-server',
    });
    return items.filter(({ metadata }) => !metadata.deletionTimestamp);
  };
  const addressOf = (pod: KubeObject) => (pod.status as { podIP: string }).podIP;
  /** What a pod serves to a client that trusts the authority of this test and asks for the Service. */
  const get = (pod: KubeObject): Promise<{ text: string; sha256: string }> =>
    new Promise((resolve, reject) => {
      const options = {
        host: addressOf(pod),
        port: serverPorts.tls,
        servername: host,
        agent: false,
      } as const;
      https
        .get({ ...options, path: jwksPath, ca: authority.certificate }, async (response) => {
          const peer = (response.socket as TLSSocket).getPeerX509Certificate();
          let text = '';
          for await (const chunk of response.setEncoding('utf8')) text += chunk;
          resolve({ text, sha256: peer?.fingerprint256 ?? '' });
        })
        .on('error', reject);
    });
  const overHTTP = async (pod: KubeObject) =>
    (await fetch(`http://${addressOf(pod)}:${serverPorts.jwks}${jwksPath}`)).text();
  const served = async () => (await Promise.all(pods.map(get))).map(({ sha256 }) => sha256);
  const write = (data: Record<string, string>) =>
    bench.client.mergePatch(resources.secrets, bench.namespace, secretName, { data });
  const sameProcesses = async () => {
    const now = await serverPods();
    const told = (some: KubeObject[]) =>
      some.map(({ metadata, status }) => {
        const { containerStatuses = [] } = status as { containerStatuses?: { restartCount: number }[] };
        return [metadata.uid, containerStatuses[0]?.restartCount];
      });
    expect(told(now).sort()).toEqual(told(pods).sort());
  };

  beforeAll(async () => {
    bench = await openBench('tls');
    operator = bench.operator();
    host = `macp-auth-${name}.${bench.namespace}.svc`;
    first = issue();
    second = issue();
    await bench.apply(name, { server: { replicas: 2, tls: { secretName } } });
    await bench.ready(name);
  }, 120_000);
  afterAll(() => bench?.close(), 60_000);

  test('is Ready and serves http without its Secret, and says what is missing', async () => {
    const missing = await until('SecretMissing');
    expect(missing).toMatchObject({
      status: 'False',
      message: expect.stringContaining('Secret web-tls does not exist: create one of type kubernetes.io/tls'),
    });
    pods = await eventually('two ready pods', async () => {
      const found = await serverPods();
      const keys = await Promise.all(found.map(overHTTP));
      return found.length === 2 && keys.every((text) => text === keys[0]) && found;
    });
    await expect(get(pods[0] as KubeObject)).rejects.toThrow();
    expect((await bench.ready(name)).status?.jwksURL).toBe(`http://${host}${jwksPath}`);
    const { items } = await bench.client.list(resources.events, bench.namespace, {});
    expect(items).toContainEqual(expect.objectContaining({ type: 'Warning', reason: 'SecretMissing' }));
  }, 60_000);

  test('serves it on every pod once it is there, with the same keys as by http', async () => {
    await bench.client.create(resources.secrets, bench.namespace, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: secretName },
      type: 'kubernetes.io/tls',
      data: dataOf(first),
    });
    const { message } = (await until('CertificateServed')) as { message: string };
    expect(message).toContain(new X509Certificate(first.certificate).validToDate.toISOString());
    expect(await served()).toEqual([first, first].map(fingerprint));
    for (const pod of pods) expect((await get(pod)).text).toBe(await overHTTP(pod));
    await sameProcesses();
    const service = await bench.client.get(
      resources.services,
      bench.namespace,
      objectNames({ namespace: bench.namespace, name }).server,
    );
    expect(service.spec).toMatchObject({ ports: [{ port: 80 }, { port: 443, targetPort: 'https' }] });
    // Nothing is written where nothing changes.
    await bench.quiet();
  }, 90_000);

  test('serves a renewed one without a restart', async () => {
    await write(dataOf(second));
    await eventually('the renewed one', async () => {
      const now = await served();
      return now.every((sha256) => sha256 === fingerprint(second));
    });
    await until('CertificateServed');
    await sameProcesses();
  }, 60_000);

  test('keeps the last good one where the pair is broken, and says which fix it takes', async () => {
    await write({ 'tls.key': dataOf(first)['tls.key'] });
    expect((await until('KeyMismatch')).message).toContain('is not the key of the certificate in tls.crt');
    expect(await served()).toEqual([second, second].map(fingerprint));
    expect((await bench.ready(name)).status?.conditions?.[0]).toMatchObject({
      type: 'Ready',
      status: 'True',
    });
    await write({ 'tls.crt': base64('garbage') });
    await until('BadCertificate');
    expect(await served()).toEqual([second, second].map(fingerprint));
    await write(dataOf(second));
    await until('CertificateServed');
    await sameProcesses();
  }, 90_000);

  test('tells of a certificate that no client takes, for its names or its end', async () => {
    await write(dataOf(issue(undefined, 'elsewhere.example')));
    const written = Date.now();
    expect((await until('NamesNotCovered')).message).toContain(
      `is not for ${host}: issue it with that among`,
    );
    // A settled issuer is looked at once a minute: the change itself makes it look.
    expect(Date.now() - written).toBeLessThan(20_000);
    const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 15_000);
    await write(dataOf(issue(soon)));
    await until('CertificateServed');
    // The end itself is what makes it look.
    expect((await until('CertificateExpired')).message).toContain(`expired at ${soon.toISOString()}`);
    expect(Date.now()).toBeGreaterThanOrEqual(soon.getTime());
    expect(Date.now() - soon.getTime()).toBeLessThan(9_000);
    await write(dataOf(second));
    await until('CertificateServed');
  }, 120_000);

  test('no longer listens for https where the field is gone', async () => {
    await bench.kubectl.run([
      ...['patch', 'mai', name, '-n', bench.namespace, '--type=merge'],
      ...['-p', '{"spec":{"server":{"tls":null}}}'],
    ]);
    await eventually('no port and no condition', async () => {
      const service = await bench.client.get(
        resources.services,
        bench.namespace,
        objectNames({ namespace: bench.namespace, name }).server,
      );
      const { ports } = service.spec as { ports: { port: number }[] };
      return ports.length === 1 && ports[0]?.port === 80 && (await condition('TLSReady')) === undefined;
    });
    const old = new Set(pods.map(({ metadata }) => metadata.uid));
    pods = await eventually('other pods', async () => {
      const found = await serverPods();
      const keys = await Promise.all(found.map(overHTTP));
      return keys.length === 2 && found.every(({ metadata }) => !old.has(metadata.uid)) && found;
    });
    for (const pod of pods) await expect(get(pod)).rejects.toThrow(/ECONNREFUSED/);
    await bench.ready(name);
  }, 90_000);

  test('shows nobody what its Secret holds', async () => {
    const { items } = await bench.client.list(resources.events, bench.namespace, {});
    const all = [
      operator.output(),
      await bench.containerLogs(),
      JSON.stringify(await bench.issuer(name)),
      JSON.stringify(items),
    ].join('\n');
    for (const { key } of [first, second]) {
      for (const line of key.split('\n').filter((text) => text !== '' && !text.startsWith('-----')))
        for (const text of [line, base64(line)]) expect(all).not.toContain(text);
    }
  });
});
