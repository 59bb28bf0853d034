import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import https from 'node:https';
import { createConnection } from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Issued, makeAuthority } from '../../support/certificates.ts';
import { keyFixture, publishFiles, Volume } from './support/fixtures.ts';
import { ask, eventually, runToEnd, Sidecar, sample } from './support/sidecar.ts';

const host = 'jwks.test';
const authority = makeAuthority();
const issue = () => authority.issue({ hosts: [host] });
const filesOf = ({ certificate, key }: Issued) => ({ 'tls.crt': certificate, 'tls.key': key });
const fingerprint = ({ certificate }: Issued) => new X509Certificate(certificate).fingerprint256;
const missing = { 'README.md': 'a Secret that is not there yet' };

let files: Volume;
let certificates: Volume;
const open = new Set<{ destroy(): void }>();
beforeEach(() => {
  files = new Volume();
  files.swap(publishFiles([keyFixture('a')]));
  certificates = new Volume();
});
afterEach(() => {
  for (const one of open) one.destroy();
  open.clear();
  files.remove();
  certificates.remove();
});

/** One request by HTTPS, as a client does it that trusts the authority of the test. */
function get(port: number, agent: https.Agent | false = false): Promise<{ text: string; sha256: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername: host, ca: authority.certificate, agent };
    const request = https.get({ ...options, path: '/.well-known/jwks.json' }, async (response) => {
      const { fingerprint256 } = (
        response.socket as tls.TLSSocket
      ).getPeerX509Certificate() as X509Certificate;
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ text, sha256: fingerprint256 });
    });
    request.on('error', reject);
  });
}

async function start() {
  const sidecar = new Sidecar({
    MACP_AUTH_FILES_DIR: files.directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
    MACP_AUTH_TLS_DIR: certificates.directory,
    MACP_AUTH_TLS_PORT: '0',
  });
  const [base = '', health = ''] = await sidecar.listening(2);
  const [line] = sidecar.logged('listening_tls');
  const port = line?.port as number;
  return {
    sidecar,
    base,
    port,
    metrics: async () => (await ask(`${health}/metrics`)).text,
    served: async () => (await get(port)).sha256,
  };
}

const broken = 'macp_auth_tls_broken';
const notAfter = (pair: Issued) =>
  `macp_auth_tls_certificate_not_after_timestamp_seconds{sha256="${fingerprint(pair)}"}`;

describe('a certificate that is mounted', () => {
  test('is served beside http, which says the same, and followed without a restart', async () => {
    const first = issue();
    certificates.swap(filesOf(first));
    const { base, port, served, metrics, sidecar } = await start();
    const { text, sha256 } = await get(port);
    expect(sha256).toBe(fingerprint(first));
    expect(text).toBe((await ask(`${base}/.well-known/jwks.json`)).text);
    const { validToDate } = new X509Certificate(first.certificate);
    expect(sample(await metrics(), notAfter(first))).toBe(validToDate.getTime() / 1000);

    const early = tls.connect({ port, host: '127.0.0.1', servername: host, ca: authority.certificate });
    open.add(early);
    let answer = '';
    early.setEncoding('utf8').on('data', (chunk) => {
      answer += chunk;
    });
    early.write('GET /healthz HTTP/1.1\r\nHost: x\r\n');
    await once(early, 'secureConnect');
    const second = issue();
    certificates.swap(filesOf(second));
    await eventually(async () => ((await served()) === fingerprint(second) ? true : undefined));
    // A connection that is open goes on as it began.
    expect(early.getPeerX509Certificate()?.fingerprint256).toBe(fingerprint(first));
    early.write('\r\n');
    await eventually(() => (answer.endsWith('{"ok":true}') ? true : undefined));
    expect(sample(await metrics(), notAfter(first))).toBeUndefined();
    expect(sample(await metrics(), notAfter(second))).toBeDefined();
    expect(sidecar.logged('tls_loaded').map((line) => line.sha256)).toEqual([first, second].map(fingerprint));
    expect(sidecar.logged('tls_broken')).toEqual([]);
  });

  test('may come later: until then handshakes fail, and http is served', async () => {
    certificates.swap(missing);
    const { base, port, served, metrics, sidecar } = await start();
    expect((await ask(`${base}/.well-known/jwks.json`)).status).toBe(200);
    await expect(get(port)).rejects.toThrow(/handshake|alert/);
    expect(sample(await metrics(), broken)).toBe(1);
    expect(await metrics()).not.toContain('not_after_timestamp_seconds{');
    expect(sidecar.logged('tls_broken')).toMatchObject([
      { level: 'error', problem: expect.stringMatching(/^tls\.crt: is missing; create/) },
    ]);

    const pair = issue();
    certificates.swap(filesOf(pair));
    await eventually(async () => ((await served()) === fingerprint(pair) ? true : undefined));
    expect(sample(await metrics(), broken)).toBe(0);
  });

  const other = issue();
  const encrypted =
    '-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBvTBXBgkq\n-----END ENCRYPTED PRIVATE KEY-----\n';
  test.each<[string, (good: Issued) => Record<string, string>, RegExp]>([
    ['is gone', () => missing, /^tls\.crt: is missing; create/],
    ['has no key', ({ certificate }) => ({ 'tls.crt': certificate }), /^tls\.key: is missing; create/],
    [
      'is no certificate',
      ({ key }) => ({ 'tls.crt': 'garbage', 'tls.key': key }),
      /^tls\.crt: does not begin with a certificate that can be read; write/,
    ],
    [
      'has garbage behind it',
      ({ certificate, key }) => ({
        'tls.crt': `${certificate}-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n`,
        'tls.key': key,
      }),
      /^tls\.crt: can't be served \(ERR_\w+\)/,
    ],
    [
      'has a key with a passphrase',
      ({ certificate }) => ({ 'tls.crt': certificate, 'tls.key': encrypted }),
      /^tls\.key: holds no private key that can be read; .*without a passphrase/,
    ],
    [
      'has the key of another',
      ({ certificate }) => ({ 'tls.crt': certificate, 'tls.key': other.key }),
      /^tls\.key: is not the key of the certificate in tls\.crt/,
    ],
  ])('that %s keeps the last good one in use, and is told once', async (_, breakIt, problem) => {
    const good = issue();
    certificates.swap(filesOf(good));
    const { served, metrics, sidecar, base } = await start();
    certificates.swap(breakIt(good));
    await eventually(() => sidecar.logged('tls_broken')[0]);
    expect(await served()).toBe(fingerprint(good));
    expect((await ask(`${base}/.well-known/jwks.json`)).status).toBe(200);
    expect(sample(await metrics(), broken)).toBe(1);
    expect(sample(await metrics(), 'macp_auth_tls_problems_total')).toBe(1);

    const renewed = issue();
    certificates.swap(filesOf(renewed));
    await eventually(async () => ((await served()) === fingerprint(renewed) ? true : undefined));
    expect(sample(await metrics(), broken)).toBe(0);
    const told = sidecar.logged('tls_broken');
    expect(told).toHaveLength(1);
    expect(told[0]?.problem).toMatch(problem);
    for (const { key } of [good, renewed, other]) expect(sidecar.stdout).not.toContain(key.split('\n')[1]);
  });
});

test('connections in a handshake, silent ones and idle ones do not hold a shutdown up', async () => {
  certificates.swap(filesOf(issue()));
  const { port, sidecar } = await start();
  const silent = createConnection(port, '127.0.0.1');
  const secured = tls.connect({ port, host: '127.0.0.1', servername: host, ca: authority.certificate });
  const agent = new https.Agent({ keepAlive: true });
  for (const one of [silent, secured, agent]) open.add(one);
  for (const socket of [silent, secured]) socket.on('error', () => {});
  await Promise.all([once(silent, 'connect'), once(secured, 'secureConnect'), get(port, agent)]);
  const asked = Date.now();
  sidecar.child.kill('SIGTERM');
  expect((await sidecar.ended).code).toBe(0);
  expect(Date.now() - asked).toBeLessThan(9000);
});

// TLS alone is 3 MiB in every pod.
test('without one no code of TLS is loaded', async () => {
  const modules = 'process.moduleLoadList.filter(m=>/ (tls|https)$/.test(m)).map(m=>m.split(" ")[1])';
  const hook = `process.on("exit",()=>process.stderr.write(${modules}.join(" ")))`;
  const loaded = async (variables: Record<string, string>) => {
    const sidecar = new Sidecar({
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`,
      MACP_AUTH_FILES_DIR: files.directory,
      MACP_AUTH_HEALTH_PORT: '0',
      ...variables,
    });
    const [base = '', health = ''] = await sidecar.listening(2);
    await ask(`${base}/.well-known/jwks.json`);
    await ask(`${health}/metrics`);
    sidecar.child.kill('SIGTERM');
    return (await sidecar.ended).stderr.split(' ').sort();
  };
  // An import of node:http as a module, which the bundle has none of, loads TLS by itself.
  const isBundle = process.env.SIDECAR_PROGRAM === 'bundle';
  expect(await loaded({})).toEqual([isBundle ? '' : 'tls']);
  const variables = { MACP_AUTH_TLS_DIR: certificates.directory, MACP_AUTH_TLS_PORT: '0' };
  expect(await loaded(variables)).toEqual(['https', 'tls']);
});

test('a port that is taken is told at the start, by its variable', async () => {
  certificates.swap(filesOf(issue()));
  const { port } = await start();
  const { code, stderr } = await runToEnd({
    MACP_AUTH_FILES_DIR: files.directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_TLS_DIR: certificates.directory,
    MACP_AUTH_TLS_PORT: String(port),
  });
  expect(code).toBe(1);
  expect(stderr).toBe(
    `macp-auth: MACP_AUTH_TLS_PORT ${port} on 127.0.0.1 is already in use; stop its other user or set MACP_AUTH_TLS_PORT to another port\n`,
  );
});
