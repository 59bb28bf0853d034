import { finalizer, type IssuerKey, type MacpAuthIssuer } from '../../../operator/api/names.ts';
import { agentSecret, jwksConfigMap } from '../../../operator/build/files.ts';
import { keyringSecret } from '../../../operator/build/keyring-secret.ts';
import {
  serverDeployment,
  serverPodDisruptionBudget,
  serverService,
} from '../../../operator/build/server.ts';
import type { ApiClient } from '../../../operator/cluster/client.ts';
import { resources } from '../../../operator/cluster/resources.ts';
import { generateKey } from '../../../operator/plan/generate.ts';
import { type Keyring, publicKeys } from '../../../operator/plan/keyring.ts';
import type { Judgement } from '../../../operator/status/conditions.ts';
import { writeEvent } from '../../../operator/status/events.ts';
import { statusOf } from '../../../operator/status/status.ts';
import { sidecarImage } from '../../support/operator.ts';
import { patchStatus } from './api.ts';
import { asIssuer, forEach, issuerObject } from './issuers.ts';

const day = 86_400_000;

/** A keyring as the operator makes it: an active key and two spares. */
async function newKeyring(): Promise<Keyring> {
  const now = Date.now();
  const [first, ...spares] = await Promise.all([1, 2, 3].map(() => generateKey('ES256')));
  const common = { algorithm: 'ES256', createdAt: now } as const;
  const active = { ...first, ...common, activateAt: now, signUntil: now + 37 * day, maxTTLMs: 3_600_000 };
  return {
    revision: now + 1,
    keys: [active as Keyring['keys'][number], ...spares.map((key) => ({ ...key, ...common }))],
    removedKeyIDs: [],
    revoked: [],
    handledRotateNow: '',
    namespaces: [],
    deselected: [],
  };
}

// What status says of an issuer whose server is still to start.
const judgements: readonly Judgement[] = [
  { type: 'CachesSynced', reason: 'CachesSynced', message: 'all caches are filled' },
  { type: 'Accepted', reason: 'Accepted', message: 'the spec is valid' },
  { type: 'KeyringReady', reason: 'KeyringComplete', message: 'revision 1 with 3 keys' },
  { type: 'ServerAvailable', reason: 'ServerStarting', message: 'no server pod is ready yet' },
  { type: 'Published', reason: 'NoServerReady', message: 'no server pod is ready to be asked' },
  { type: 'Distributed', reason: 'AllNamespacesCurrent', message: 'the Secret holds the keys in 1 of 1' },
  { type: 'RotationOnTime', reason: 'NotDue', message: 'no rotation is due' },
  { type: 'KeysConfined', reason: 'KeysConfined', message: 'no other namespaces have keys' },
];

/**
 * The least that anybody has to do for the same outcome: issuer, finalizer, keyring, its Event, JWKS, agent Secret,
 * Deployment, Service, PodDisruptionBudget and status, each in one request that decides nothing. The keys are made
 * before.
 */
async function createBare(client: ApiClient, key: IssuerKey, keyring: Keyring): Promise<void> {
  const { namespace, name } = key;
  const create = (...args: Parameters<ApiClient['create']>) => client.create(...args);
  const issuer: MacpAuthIssuer = asIssuer(await create(resources.issuers, namespace, issuerObject(key)));
  await client.mergePatch(resources.issuers, namespace, name, { metadata: { finalizers: [finalizer] } });
  const note = `the keyring was created; keys: ${keyring.keys.map(({ kid }) => kid).join(', ')}`;
  await create(resources.secrets, namespace, keyringSecret(issuer, keyring, undefined));
  await writeEvent(client, issuer, { type: 'Normal', reason: 'KeyringCreated', note }, 'bare');
  await create(resources.deployments, namespace, serverDeployment(issuer, sidecarImage));
  await create(resources.services, namespace, serverService(issuer));
  await create(resources.podDisruptionBudgets, namespace, serverPodDisruptionBudget(issuer));
  await create(resources.configMaps, namespace, jwksConfigMap(issuer, publicKeys(keyring), keyring.revision));
  await create(resources.secrets, namespace, agentSecret(issuer, namespace, keyring));
  const status = statusOf(issuer, keyring, judgements, Date.now(), 1);
  await patchStatus(client, resources.issuers, { namespace, name }, status);
}

/** Runs the bare loop; resolves with its seconds. */
export async function bareLoop(client: ApiClient, keys: readonly IssuerKey[]): Promise<number> {
  const keyrings = new Map<IssuerKey, Keyring>();
  for (const key of keys) keyrings.set(key, await newKeyring());
  const begun = performance.now();
  await forEach(keys, (key) => createBare(client, key, keyrings.get(key) as Keyring));
  return (performance.now() - begun) / 1000;
}
