import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MintSettings } from '../../../../sidecar/contract/files.ts';
import type { Algorithm } from '../../../../sidecar/contract/jwk.ts';

export type JWK = Record<string, string>;

/** A new private JWK with all its members and nothing else. */
export function privateJWK(alg: Algorithm, modulusLength = 2048): JWK {
  const { privateKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength });
  return { ...privateKey.export({ format: 'jwk' }) } as JWK;
}

/** The values that must never be seen: every private member of a JWK. */
export function privateValues(jwk: JWK): string[] {
  return ['d', 'p', 'q', 'dp', 'dq', 'qi'].flatMap((name) => jwk[name] ?? []);
}

export function publicJWK(jwk: JWK, kid: string, alg: Algorithm): JWK {
  const names = alg === 'ES256' ? ['kty', 'crv', 'x', 'y'] : ['kty', 'n', 'e'];
  return { ...Object.fromEntries(names.map((name) => [name, jwk[name] ?? ''])), kid, alg, use: 'sig' };
}

/** One key as the operator describes it; instants in milliseconds since the epoch. */
export interface KeyFixture {
  kid: string;
  alg: Algorithm;
  jwk: JWK;
  activateAt: number;
  signUntil: number;
  warnFrom: number;
}

const hour = 3_600_000;

/** A key that has been active for an hour and has long to go. */
export function keyFixture(kid: string, overrides: Partial<KeyFixture> = {}): KeyFixture {
  const alg = overrides.alg ?? 'ES256';
  const now = Date.now();
  return {
    kid,
    alg,
    jwk: overrides.jwk ?? privateJWK(alg),
    activateAt: now - hour,
    signUntil: now + 100 * hour,
    warnFrom: now + 90 * hour,
    ...overrides,
  };
}

/** A key as an entry of keys.json. */
export function keyEntry({ kid, alg, jwk, activateAt, signUntil, warnFrom }: KeyFixture) {
  const instant = (milliseconds: number) => new Date(milliseconds).toISOString();
  return {
    kid,
    alg,
    privateKey: jwk,
    activateAt: instant(activateAt),
    signUntil: instant(signUntil),
    warnFrom: instant(warnFrom),
  };
}

export const mintSettings: MintSettings = {
  role: 'mint',
  revision: 1,
  jwksMaxAgeSeconds: 30,
  issuer: 'issuer-of-files',
  audience: 'audience-of-files',
  defaultTTLSeconds: 120,
  maxTTLSeconds: 600,
};

/** The mounted files, as values to be written as JSON, or as text to be written as it is. */
export type Files = Record<string, unknown>;

/** The files of an agent's Secret. */
export function mintFiles(keys: readonly KeyFixture[], settings: Partial<MintSettings> = {}): Files {
  return {
    'keys.json': { keys: keys.map(keyEntry) },
    'jwks.json': { keys: keys.map(({ jwk, kid, alg }) => publicJWK(jwk, kid, alg)) },
    'settings.json': { ...mintSettings, ...settings },
  };
}

/** The files of the JWKS server's ConfigMap. */
export function publishFiles(keys: readonly KeyFixture[], revision = 1): Files {
  return {
    'jwks.json': { keys: keys.map(({ jwk, kid, alg }) => publicJWK(jwk, kid, alg)) },
    'settings.json': { role: 'publish', revision, jwksMaxAgeSeconds: 15 },
  };
}

export const asText = (content: unknown) =>
  typeof content === 'string' ? content : JSON.stringify(content, null, 1);

/** A directory that is laid out and swapped as kubelet does with a Secret volume. */
export class Volume {
  readonly directory = mkdtempSync(join(tmpdir(), 'sidecar-volume-'));
  #version = 0;
  #current: string | undefined;

  /** Writes a new version and makes it the current one by an atomic rename; deletes the one before. */
  swap(files: Files): void {
    this.#version += 1;
    const version = `..version_${this.#version}`;
    mkdirSync(join(this.directory, version));
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(this.directory, version, name), asText(content));
    }
    symlinkSync(version, join(this.directory, '..data_tmp'));
    renameSync(join(this.directory, '..data_tmp'), join(this.directory, '..data'));
    for (const name of ['keys.json', 'jwks.json', 'settings.json']) {
      rmSync(join(this.directory, name), { force: true });
      if (name in files) symlinkSync(join('..data', name), join(this.directory, name));
    }
    if (this.#current) rmSync(join(this.directory, this.#current), { recursive: true });
    this.#current = version;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
