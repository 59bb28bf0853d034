import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { type Algorithm, privateJWK, publicHalf } from '../../sidecar/contract/jwk.ts';
import type { NewKey } from './keyring.ts';

/** A new key pair, RSA with 2048 bits; its `kid` is the RFC 7638 thumbprint. */
export async function generateKey(algorithm: Algorithm): Promise<NewKey> {
  const pair = await generateKeyPair(algorithm, { extractable: true });
  const privateKey = privateJWK.parse(await exportJWK(pair.privateKey));
  const kid = await calculateJwkThumbprint(publicHalf(privateKey));
  return { kid, privateKey, publicKey: { ...publicHalf(privateKey), kid, alg: algorithm, use: 'sig' } };
}
