import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  askCertificateDirectly,
  askCertificateThroughProxy,
  certificateHosts,
  observeCertificate,
} from '../../../operator/observe/tls.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { FakeApiServer, failure } from './api-server.ts';
import { defaultSpec, issuerOf, objectNamed } from './builders.ts';

const service = 'macp-auth-demo.team.svc';
const { certificate, key } = makeAuthority().issue({ hosts: [service] });
const sha256 = new X509Certificate(certificate).fingerprint256;
// An address of this file's own, as a pod has one: the port is always the same.
const podIP = '127.34.43.1';
const pod = { ...objectNamed('pod-1'), kind: 'Pod', status: { podIP } };

let api: FakeApiServer;
let server: Server | undefined;
beforeEach(async () => {
  api = await FakeApiServer.start();
});
afterEach(async () => {
  await api.stop();
  server?.close();
  server = undefined;
});

const listen = async (one: Server) => {
  server = one.listen(3443, podIP);
  await once(one, 'listening');
};

describe('a server pod that is asked for its certificate', () => {
  const ask = () => askCertificateDirectly()(pod);

  test('shows it in a handshake', async () => {
    await listen(tls.createServer({ cert: certificate, key }));
    expect(await ask()).toEqual({ pod: 'pod-1', sha256 });
  });

  test('says the same each time when it has none, or does not listen', async () => {
    await listen(tls.createServer({}));
    const answer = await ask();
    expect(answer).toEqual({
      pod: 'pod-1',
      problem: expect.stringMatching(/^it cannot be reached \(ERR_SSL_\S+\)$/),
    });
    expect(await ask()).toEqual(answer);
    server?.close();
    await once(server as Server, 'close');
    expect(await ask()).toEqual({ pod: 'pod-1', problem: 'it cannot be reached (ECONNREFUSED)' });
  });

  test('is given up when it says nothing', async () => {
    await listen(createServer((socket) => socket.on('error', () => {}).resume()));
    expect(await ask()).toEqual({ pod: 'pod-1', problem: 'it did not answer within 3 s' });
  });

  test('without an address has none', async () => {
    expect(await askCertificateDirectly()({ ...pod, status: {} })).toEqual({
      pod: 'pod-1',
      problem: 'it has no address yet',
    });
  });

  test.each([
    [
      `macp_auth_tls_broken 0\nmacp_auth_tls_certificate_not_after_timestamp_seconds{sha256="${sha256}"} 1\n`,
      sha256,
    ],
    ['macp_auth_tls_broken 1\n', undefined],
  ])('tells it by its metrics through the API server', async (body, expected) => {
    api.intercept = () => ({ code: 200, body });
    expect(await askCertificateThroughProxy(api.client())(pod)).toEqual(
      expected ? { pod: 'pod-1', sha256 } : { pod: 'pod-1', problem: 'it has no certificate yet' },
    );
    expect(api.seen.at(-1)?.path).toBe('/api/v1/namespaces/team/pods/pod-1:3201/proxy/metrics');
  });
});

describe('the Secret of a certificate', () => {
  const secretPath = '/api/v1/namespaces/team/secrets/web-certificate';
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const data = { 'tls.crt': base64(certificate), 'tls.key': base64(key) };
  const observe = () => observeCertificate(api.client(), issuerOf(), 'web-certificate');

  test('is read live, and nothing of it is kept but what may be told', async () => {
    api.put(secretPath, {
      ...objectNamed('web-certificate'),
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      data,
    });
    const found = await observe();
    expect(found).toMatchObject({ sha256, hosts: [service] });
    for (const text of Object.values(data)) expect(JSON.stringify(found)).not.toContain(text.slice(40, 80));
  });

  test('may be missing', async () => {
    expect(await observe()).toMatchObject({ reason: 'SecretMissing' });
  });

  test('that cannot be read is told from one that is missing', async () => {
    api.intercept = ({ path }) => (path === secretPath ? failure(403, 'Forbidden', 'it may not') : undefined);
    expect(await observe()).toEqual({
      problem: 'Secret web-certificate could not be read: it may not',
      failure: expect.objectContaining({ code: 403 }),
    });
  });

  test.each<[string | undefined, string[]]>([
    [undefined, []],
    ['http://jwks.example.com/', []],
    ['https://jwks.example.com:8443/jwks.json', ['jwks.example.com']],
    ['https://[2001:db8::7]/', ['2001:db8::7']],
    ['https://jwks.example.com:99999/', []],
  ])('may be for the Service, and with the external URL %s for more', (externalURL, more) => {
    const server_ = { ...defaultSpec.server, ...(externalURL && { externalURL }) };
    expect(certificateHosts(issuerOf({ server: server_ }))).toEqual([service, ...more]);
  });
});
