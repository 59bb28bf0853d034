import {
  fileNames,
  type MintSettings,
  type PublishSettings,
  type SigningKey,
  signingKeysFile,
} from '../../sidecar/contract/files.ts';
import { type PublicJWK, publicJWKS } from '../../sidecar/contract/jwk.ts';
import { durationMs } from '../api/duration.ts';
import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';
import { isSigning, type Keyring, publicKeys } from '../plan/keyring.ts';
import { grantsFor } from './grants.ts';
import { commonLabels, derivedAnnotations, ownerReference } from './metadata.ts';

/** Types of our Secrets. A Secret's type is immutable, so it tells ours from a stranger's of the same name. */
export const secretTypes = {
  keyring: 'auth.multiagentcoordinationprotocol.io/keyring',
  agent: 'auth.multiagentcoordinationprotocol.io/agent-files',
} as const;

const maxAgeLimitSeconds = 60;

/** `max-age` of the JWKS: a tenth of `verifierCacheTTL`, at most 60 s. */
export const jwksMaxAgeSeconds = (issuer: MacpAuthIssuer): number =>
  Math.min(maxAgeLimitSeconds, Math.floor(durationMs(issuer.spec.rotation.verifierCacheTTL) / 10_000));

/** The ConfigMap that the JWKS server mounts: public keys only. */
export function jwksConfigMap(
  issuer: MacpAuthIssuer,
  keys: readonly PublicJWK[],
  revision: number,
): KubeObject {
  const settings: PublishSettings = {
    role: 'publish',
    revision,
    jwksMaxAgeSeconds: jwksMaxAgeSeconds(issuer),
  };
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: objectNames(issuer.metadata).server,
      namespace: issuer.metadata.namespace,
      labels: commonLabels(issuer, 'jwks-server'),
      annotations: derivedAnnotations(issuer, revision),
      ownerReferences: [ownerReference(issuer)],
    },
    data: { [fileNames.jwks]: JSON.stringify({ keys }), [fileNames.settings]: JSON.stringify(settings) },
  };
}

/** The Secret that sidecars of a namespace mount: signing keys, public keys and settings, which change together. */
export function agentSecret(issuer: MacpAuthIssuer, namespace: string, keyring: Keyring): KubeObject {
  const { spec } = issuer;
  const grants = grantsFor(spec, namespace);
  const settings: MintSettings = {
    role: 'mint',
    revision: keyring.revision,
    jwksMaxAgeSeconds: jwksMaxAgeSeconds(issuer),
    issuer: spec.issuer,
    audience: spec.audience,
    defaultTTLSeconds: durationMs(spec.ttl.default) / 1000,
    maxTTLSeconds: durationMs(spec.ttl.max) / 1000,
    ...(grants && { grants }),
  };
  const files = {
    [fileNames.keys]: { keys: signingKeys(keyring, durationMs(spec.rotation.grace)) },
    [fileNames.jwks]: { keys: publicKeys(keyring) },
    [fileNames.settings]: settings,
  };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: secretTypes.agent,
    metadata: {
      name: objectNames(issuer.metadata).agentSecret,
      namespace,
      labels: commonLabels(issuer, 'agent-files'),
      annotations: derivedAnnotations(issuer, keyring.revision),
    },
    data: Object.fromEntries(
      Object.entries(files).map(([name, content]) => [name, toBase64(JSON.stringify(content))]),
    ),
  };
}

// Spares stay in the issuer's namespace until their switch is committed.
function signingKeys(keyring: Keyring, graceMs: number): SigningKey[] {
  return keyring.keys.filter(isSigning).map((key) => ({
    kid: key.kid,
    alg: key.algorithm,
    privateKey: key.privateKey,
    activateAt: new Date(key.activateAt).toISOString(),
    signUntil: new Date(key.signUntil).toISOString(),
    warnFrom: new Date(key.signUntil - graceMs / 2).toISOString(),
  }));
}

/** The public keys in a JWKS ConfigMap; none where it cannot be read. */
export function readPublished(configMap: KubeObject | undefined): PublicJWK[] {
  const data = configMap?.data as Record<string, string> | undefined;
  return parseFile(publicJWKS, data?.[fileNames.jwks])?.keys ?? [];
}

/** The signing keys in an agent Secret; none where they cannot be read. */
export function readDistributed(secret: KubeObject | undefined): SigningKey[] {
  const data = secret?.data as Record<string, string> | undefined;
  return parseFile(signingKeysFile, fromBase64(data?.[fileNames.keys]))?.keys ?? [];
}

/** The public keys in an agent Secret; none where they cannot be read. */
export function readDistributedJWKS(secret: KubeObject | undefined): PublicJWK[] {
  const data = secret?.data as Record<string, string> | undefined;
  return parseFile(publicJWKS, fromBase64(data?.[fileNames.jwks]))?.keys ?? [];
}

/** Base64 (RFC 4648 section 4) of a text, as Secrets hold it. */
export const toBase64 = (text: string): string => Buffer.from(text).toString('base64');

/** The text of a Secret's base64. */
export const fromBase64 = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : Buffer.from(text, 'base64').toString('utf8');

function parseFile<T>(
  schema: { safeParse(value: unknown): { success: boolean; data?: T } },
  text: string | undefined,
): T | undefined {
  if (text === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
