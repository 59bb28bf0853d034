import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { AloneSettings } from '../environment.ts';
import { StartError } from '../start-error.ts';
import { importSigningKey, KeyError, unlimited } from './key.ts';
import { type Material, servedJWKS } from './material.ts';

// A tenth of the default time that the verifier keeps a JWK Set (MACP_AUTH_JWKS_TTL_SECS, 300).
const maxAgeSeconds = 30;

/**
 * The material of a program without mounted files: the key of `MACP_AUTH_SIGNING_KEY_JSON`, or an ephemeral
 * one named `dev-key-1`.
 *
 * @throws {StartError} when the given key can't sign with the given algorithm.
 */
export async function aloneMaterial(settings: AloneSettings): Promise<Material> {
  const { signingKeyJSON, algorithm: alg, issuer, audience, maxTTLSeconds, defaultTTLSeconds } = settings;
  const { jwk, kid } =
    signingKeyJSON === undefined
      ? { jwk: await generateJWK(settings.algorithm), kid: 'dev-key-1' }
      : parseJWK(signingKeyJSON);
  const { sign, publicMembers } = importGiven(jwk, settings);
  const body = JSON.stringify({ keys: [{ ...publicMembers, kid, alg, use: 'sig' }] });
  return {
    revision: undefined,
    jwks: servedJWKS(body, [kid], maxAgeSeconds),
    mint: {
      issuer,
      audience,
      maxTTLSeconds,
      defaultTTLSeconds,
      keys: [{ kid, alg, sign, ...unlimited }],
    },
  };
}

function parseJWK(text: string): { jwk: Record<string, unknown>; kid: string } {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw badKey('it is not valid JSON');
  }
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw badKey('it is not a JSON object');
  const kid = ('kid' in jwk ? jwk.kid : undefined) ?? 'key-1';
  if (typeof kid !== 'string') throw badKey('its kid is not a string');
  return { jwk: { ...jwk }, kid };
}

function importGiven(jwk: Record<string, unknown>, { algorithm }: AloneSettings) {
  try {
    return importSigningKey(jwk, algorithm);
  } catch (error) {
    if (error instanceof KeyError) throw badKey(error.message, algorithm);
    throw error;
  }
}

function badKey(problem: string, algorithm?: string): StartError {
  const under = algorithm === undefined ? '' : ` (MACP_AUTH_SIGNING_ALG is ${algorithm})`;
  return new StartError(
    `MACP_AUTH_SIGNING_KEY_JSON can't be used${under}: ${problem}; ` +
      'set it to a whole private JWK, RSA for RS256 or EC P-256 for ES256',
  );
}

async function generateJWK(alg: AloneSettings['algorithm']): Promise<Record<string, unknown>> {
  const generate = promisify(generateKeyPair);
  const { privateKey } =
    alg === 'ES256'
      ? await generate('ec', { namedCurve: 'P-256' })
      : await generate('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }) };
}
