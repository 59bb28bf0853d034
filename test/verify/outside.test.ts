import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { newKey, sign } from './forge.ts';
import { type Running, start } from './process.ts';
import { proveItJudges, type Runtime, startRuntime } from './runtime.ts';
import { type Sidecar, startSidecar } from './sidecar.ts';
import { ensureCaddy } from './toolchain/caddy.ts';
import { buildTimeoutMs } from './toolchain/runtime.ts';

const sender = 'agent://planner';
const issuer = 'outside-issuer';
const audience = 'outside-audience';
const jwksTTLSeconds = 1;
const document = join(import.meta.dirname, '../../docs/outside-the-cluster.md');

// As the document has it: http from the runtime to a proxy beside it, https from there on.
describe('a runtime that gets the keys by https, through the documented proxy', () => {
  const authority = makeAuthority();
  let dir: string;
  let caddy: string;
  let sidecar: Sidecar;
  let tlsPort: string;
  let proxy: Running<string>;
  let runtime: Runtime;

  const writePair = async ({ issue }: Authority) => {
    const { certificate, key } = issue({ hosts: ['127.0.0.1'] });
    await writeFile(join(dir, 'tls.key'), key);
    await writeFile(join(dir, 'tls.crt'), certificate);
  };

  /** The document's Caddyfile, with the places of this test. */
  async function startProxy(trusted: Authority): Promise<Running<string>> {
    const text = /^ *```\n( *\{\n *admin off[\s\S]+?)^ *```/m.exec(await readFile(document, 'utf8'))?.[1];
    if (!text) throw new Error(`${document} has no Caddyfile`);
    const port = await freePort();
    const folder = await mkdtemp(join(dir, 'caddy-'));
    const places: [string, string][] = [
      ['127.0.0.1:3280', `127.0.0.1:${port}`],
      ['https://jwks.example.com', `https://127.0.0.1:${tlsPort}`],
      ['/etc/macp-auth/ca.pem', join(folder, 'ca.pem')],
    ];
    for (const [documented] of places) expect(text.split(documented)).toHaveLength(2);
    const config = places.reduce((done, [documented, place]) => done.replace(documented, place), text);
    await writeFile(join(folder, 'ca.pem'), trusted.certificate);
    await writeFile(join(folder, 'Caddyfile'), config);
    return start({
      name: 'caddy',
      argv: [caddy, 'run', '--config', join(folder, 'Caddyfile')],
      env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
      ready: async () => {
        const base = `http://127.0.0.1:${port}`;
        const answers = await fetch(base, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
        await answers?.arrayBuffer();
        return answers && base;
      },
    });
  }
  const jwks = (base: string) => `${base}/.well-known/jwks.json`;

  beforeAll(async () => {
    caddy = await ensureCaddy((line) => process.stderr.write(`${line}\n`));
    dir = await mkdtemp(join(tmpdir(), 'macp-outside-'));
    await writePair(authority);
    const env = { MACP_AUTH_TLS_DIR: dir, MACP_AUTH_TLS_PORT: '0' };
    sidecar = await startSidecar({ signingKey: await newKey('ES256', 'outside'), issuer, audience, env });
    for (let tries = 0; tries < 100 && !tlsPort; tries++) {
      tlsPort = /"event":"listening_tls".*?"port":(\d+)/.exec(sidecar.output())?.[1] as string;
      if (!tlsPort) await sleep(50);
    }
    proxy = await startProxy(authority);
    runtime = await startRuntime({ jwksURL: jwks(proxy.ready), issuer, audience, jwksTTLSeconds });
    await proveItJudges(runtime, { token: await sidecar.mint({ sender }), sender });
  }, buildTimeoutMs);

  afterAll(async () => {
    await Promise.all([runtime?.stop(), proxy?.stop(), sidecar?.stop()]);
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  it('accepts what is minted, and refuses what another key signed', async () => {
    expect(await runtime.judge({ token: await sidecar.mint({ sender }), sender })).toEqual({
      outcome: 'accepted',
    });
    const exp = Math.floor(Date.now() / 1000) + 300;
    const forged = await sign(await newKey('ES256', 'outside'), {
      iss: issuer,
      aud: audience,
      sub: sender,
      exp,
    });
    expect(await runtime.judge({ token: forged, sender })).toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('goes on when the certificate is renewed', async () => {
    await writePair(authority);
    for (let tries = 0; tries < 200; tries++) {
      if (sidecar.output().split('"event":"tls_loaded"').length > 2) break;
      await sleep(50);
    }
    expect(sidecar.output().split('"event":"tls_loaded"').length).toBeGreaterThan(2);
    await sleep(jwksTTLSeconds * 1000);
    const before = runtime.output().length;
    expect(await runtime.judge({ token: await sidecar.mint({ sender }), sender })).toEqual({
      outcome: 'accepted',
    });
    expect(runtime.output().slice(before)).not.toMatch(/serving stale cached keys/);
  });

  it('gets nothing from a server that the proxy does not trust', async () => {
    const wary = await startProxy(makeAuthority('another authority'));
    try {
      const answer = await fetch(jwks(wary.ready));
      expect(answer.status).toBe(502);
      const strict = await startRuntime({ jwksURL: jwks(wary.ready), issuer, audience });
      try {
        expect(await strict.judge({ token: await sidecar.mint({ sender }), sender })).toMatchObject({
          code: 'UNAUTHENTICATED',
        });
      } finally {
        await strict.stop();
      }
    } finally {
      await wary.stop();
    }
  });
});
