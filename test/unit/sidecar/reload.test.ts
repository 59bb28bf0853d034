import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { asText, keyFixture, mintFiles, publishFiles, Volume } from './support/fixtures.ts';
import { ask, decode, eventually, mint, Sidecar, sample } from './support/sidecar.ts';

let volume: Volume;
beforeEach(() => {
  volume = new Volume();
});
afterEach(() => volume.remove());

async function start(directory = volume.directory) {
  const sidecar = new Sidecar({
    MACP_AUTH_FILES_DIR: directory,
    MACP_AUTH_HEALTH_PORT: '0',
    MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
  });
  const [base = '', health = ''] = await sidecar.listening(2);
  return {
    sidecar,
    base,
    metrics: async () => (await ask(`${health}/metrics`)).text,
    ready: async () => (await ask(`${health}/readyz`)).status,
    kids: async () => {
      const { keys } = JSON.parse((await ask(`${base}/.well-known/jwks.json`)).text);
      return keys.map(({ kid }: { kid: string }) => kid);
    },
    /** Mints, which must succeed, and decodes the token. */
    token: async (body: object = { sender: 's' }) => {
      const { status, text } = await mint(base, body);
      expect({ status, text }).toMatchObject({ status: 200 });
      return decode(JSON.parse(text).token);
    },
  };
}

const a = keyFixture('a');
const b = keyFixture('b', { activateAt: Date.now() - 1000 });

describe('files that change', () => {
  test('the settings and keys of the files are used, and followed through swaps', async () => {
    volume.swap(mintFiles([a]));
    const { base, kids, token, metrics } = await start();
    const first = await token({ sender: 's', ttl_seconds: 9999 });
    expect(first.header).toEqual({ alg: 'ES256', kid: 'a' });
    expect(first.claims).toMatchObject({ iss: 'issuer-of-files', aud: 'audience-of-files' });
    expect(first.claims.exp - first.claims.iat).toBe(600);
    const etag = (await ask(`${base}/.well-known/jwks.json`)).headers.get('etag');

    volume.swap(mintFiles([a, b], { revision: 2, maxTTLSeconds: 60, jwksMaxAgeSeconds: 7 }));
    await eventually(async () => ((await kids()).length === 2 ? true : undefined));
    const second = await token({ sender: 's', ttl_seconds: 9999 });
    expect(second.header.kid).toBe('b');
    expect(second.claims.exp - second.claims.iat).toBe(60);
    const jwks = await ask(`${base}/.well-known/jwks.json`);
    expect(jwks.headers.get('cache-control')).toBe('public, max-age=7');
    expect(jwks.headers.get('etag')).not.toBe(etag);
    expect(sample(await metrics(), 'macp_auth_files_revision')).toBe(2);
    expect(sample(await metrics(), 'macp_auth_jwks_keys')).toBe(2);
  });

  test('no request fails while versions come and go, and each answer is of one version', async () => {
    volume.swap(mintFiles([a], { issuer: 'v1' }));
    const { base, sidecar } = await start();
    let swapping = true;
    const requests = async () => {
      const issuers: [string, string][] = [];
      while (swapping) {
        const { status, text } = await mint(base, { sender: 's' });
        expect(status).toBe(200);
        const { header, claims } = decode(JSON.parse(text).token);
        issuers.push([header.kid, claims.iss]);
      }
      return issuers;
    };
    const asking = [requests(), requests()];
    const started = Date.now();
    for (let revision = 2; revision <= 21; revision += 1) {
      const odd = revision % 2 === 1;
      volume.swap(mintFiles([odd ? a : b], { revision, issuer: odd ? 'v1' : 'v2' }));
      await eventually(() => sidecar.logged('files_loaded').find((line) => line.revision === revision));
    }
    swapping = false;
    // The poll alone would take two seconds for each.
    expect(Date.now() - started).toBeLessThan(25_000);
    const seen = new Set((await Promise.all(asking)).flat().map(String));
    expect([...seen].sort()).toEqual(['a,v1', 'b,v2']);
    expect(sidecar.logged('files_broken')).toEqual([]);
  });

  test('every sidecar switches by its clock, without a change of files', async () => {
    volume.swap(mintFiles([a]));
    const { token, sidecar } = await start();
    const soon = keyFixture('soon', { activateAt: Date.now() + 3000 });
    volume.swap(mintFiles([a, soon], { revision: 2 }));
    await eventually(async () => {
      const { header, claims } = await token();
      // The token's time is the whole second that it was signed in.
      if (header.kid === 'a') expect(claims.iat * 1000).toBeLessThan(soon.activateAt);
      else expect((claims.iat + 1) * 1000).toBeGreaterThan(soon.activateAt);
      return header.kid === 'soon' ? true : undefined;
    });
    await eventually(() => sidecar.logged('signer').find(({ kid }) => kid === 'soon'));
    expect(sidecar.logged('signer').map(({ kid }) => kid)).toEqual(['a', 'soon']);
    expect(sidecar.logged('files_loaded')).toHaveLength(2);
  });

  test('a plain directory is followed too', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sidecar-plain-'));
    try {
      const write = (files: Record<string, unknown>) => {
        for (const [name, content] of Object.entries(files)) {
          writeFileSync(join(directory, `.${name}`), asText(content));
          renameSync(join(directory, `.${name}`), join(directory, name));
        }
      };
      write(mintFiles([a]));
      const { kids } = await start(directory);
      expect(await kids()).toEqual(['a']);
      write(mintFiles([b], { revision: 2 }));
      await eventually(async () => ((await kids())[0] === 'b' ? true : undefined));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a directory that was moved away and made anew is noticed by the poll', async () => {
    volume.swap(mintFiles([a]));
    const { kids, sidecar } = await start();
    const aside = `${volume.directory}-aside`;
    try {
      renameSync(volume.directory, aside);
      // The last event of the watch, which stays with the directory that is gone.
      await eventually(() => sidecar.logged('files_broken')[0]);
      const fresh = new Volume();
      fresh.swap(mintFiles([b], { revision: 2 }));
      renameSync(fresh.directory, volume.directory);
      await eventually(async () => ((await kids())[0] === 'b' ? true : undefined));
    } finally {
      rmSync(aside, { recursive: true, force: true });
    }
  });
});

describe('a version that is not good', () => {
  const good = mintFiles([a], { revision: 5 });
  test.each([
    ['broken JSON', { ...good, 'keys.json': '{' }, /^keys\.json: is not valid JSON/],
    ['a missing file', { ...good, 'jwks.json': undefined }, /^jwks\.json: is missing/],
    ['an older revision', mintFiles([b], { revision: 4 }), /^settings\.json: revision: 4 is older than 5/],
    ['another role', publishFiles([b], 6), /^settings\.json: role: changed while running/],
  ])('%s: the last good one stays, it is said once, and a good one ends it', async (_name, bad, problem) => {
    volume.swap(good);
    const { sidecar, token, kids, metrics, ready } = await start();
    const present = Object.fromEntries(Object.entries(bad).filter(([, content]) => content !== undefined));
    volume.swap(present);
    const line = await eventually(() => sidecar.logged('files_broken')[0]);
    expect(line).toMatchObject({ level: 'error', problem: expect.stringMatching(problem) });
    // The same again, and for longer than a poll takes: not another word.
    volume.swap(present);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(sidecar.logged('files_broken')).toHaveLength(1);
    expect((await token()).header.kid).toBe('a');
    expect(await kids()).toEqual(['a']);
    expect(await ready()).toBe(200);
    expect(sample(await metrics(), 'macp_auth_files_broken')).toBe(1);
    expect(sample(await metrics(), 'macp_auth_files_problems_total')).toBe(1);

    volume.swap(mintFiles([b], { revision: 7 }));
    await eventually(async () => ((await kids())[0] === 'b' ? true : undefined));
    expect(sample(await metrics(), 'macp_auth_files_broken')).toBe(0);
  });

  test('files that vanish and come back unchanged are in use again', async () => {
    volume.swap(good);
    const { sidecar, token, metrics } = await start();
    const aside = `${volume.directory}-aside`;
    renameSync(volume.directory, aside);
    await eventually(() => sidecar.logged('files_broken')[0]);
    expect((await token()).header.kid).toBe('a');
    renameSync(aside, volume.directory);
    await eventually(async () =>
      sample(await metrics(), 'macp_auth_files_broken') === 0 ? true : undefined,
    );
  });
});

describe('the end of a key', () => {
  test('past signUntil every mint is 503, said once; a newer key ends it', async () => {
    const ended = keyFixture('ended', { signUntil: Date.now() - 1, warnFrom: Date.now() - 2 });
    const older = keyFixture('older', { activateAt: ended.activateAt - 1000 });
    volume.swap(mintFiles([older, ended]));
    const { sidecar, base, kids, metrics, ready, token } = await start();
    for (let count = 0; count < 3; count += 1) {
      const { status, text } = await mint(base, { sender: 's' });
      expect(status).toBe(503);
      expect(JSON.parse(text)).toEqual({ error: expect.stringMatching(/past its signUntil/) });
    }
    expect((await mint(base, {})).status).toBe(400);
    expect(await kids()).toEqual(['older', 'ended']);
    // Not wired to readiness: an agent's own Service must not lose its endpoints.
    expect(await ready()).toBe(200);
    expect(sidecar.logged('signer')).toMatchObject([{ level: 'error', kid: 'ended' }]);
    const before = await metrics();
    expect(sample(before, 'macp_auth_signer_usable{kid="ended",alg="ES256"}')).toBe(0);
    expect(sample(before, 'macp_auth_requests_refused_total{reason="key_ended"}')).toBe(3);

    volume.swap(mintFiles([a], { revision: 2 }));
    await eventually(async () => ((await mint(base, { sender: 's' })).status === 200 ? true : undefined));
    expect((await token()).header.kid).toBe('a');
    const after = await metrics();
    expect(sample(after, 'macp_auth_signer_usable{kid="a",alg="ES256"}')).toBe(1);
    expect(after).not.toContain('kid="ended"');
  });

  test('a key that ends while running signs nothing from that instant', async () => {
    volume.swap(mintFiles([a]));
    const { base, sidecar } = await start();
    const signUntil = Date.now() + 4000;
    const short = keyFixture('short', { activateAt: Date.now() - 1, signUntil, warnFrom: 0 });
    volume.swap(mintFiles([a, short], { revision: 2 }));
    await eventually(async () => {
      const asked = Date.now();
      const { status, text } = await mint(base, { sender: 's' });
      if (status === 503) return true;
      const { header, claims } = decode(JSON.parse(text).token);
      if (header.kid !== 'short') return undefined;
      expect(asked).toBeLessThan(signUntil);
      expect(claims.iat * 1000).toBeLessThan(signUntil);
      return undefined;
    });
    expect(Date.now()).toBeGreaterThanOrEqual(signUntil);
    await eventually(() => sidecar.logged('signer').find(({ level }) => level === 'error'));
    expect(sidecar.logged('signer').at(-1)).toMatchObject({ level: 'error', kid: 'short' });
  });

  test('from warnFrom on it warns, once, without any request', async () => {
    const warned = keyFixture('warned', { warnFrom: Date.now() - 1 });
    volume.swap(mintFiles([warned]));
    const { sidecar, token, metrics } = await start();
    await token();
    await token();
    const signUntil = new Date(warned.signUntil).toISOString();
    expect(sidecar.logged('signer')).toMatchObject([{ level: 'warn', kid: 'warned', signUntil }]);
    const series = 'macp_auth_signer_sign_until_timestamp_seconds{kid="warned",alg="ES256"}';
    expect(sample(await metrics(), series)).toBe(warned.signUntil / 1000);
  });
});
