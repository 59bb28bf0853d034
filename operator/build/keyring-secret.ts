import { type MacpAuthIssuer, objectNames } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';
import { encodeKeyring, keyringFile } from '../plan/codec.ts';
import type { Keyring } from '../plan/keyring.ts';
import { secretTypes, toBase64 } from './files.ts';
import { commonLabels, revisionAnnotation } from './metadata.ts';

/**
 * The Secret with the whole keyring. Without an owner reference: a restored issuer has a new uid, and the garbage
 * collector would take the keys. `observed` is the one it replaces, by its resourceVersion.
 */
export function keyringSecret(
  issuer: MacpAuthIssuer,
  keyring: Keyring,
  observed: KubeObject | undefined,
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: secretTypes.keyring,
    metadata: {
      ...observed?.metadata,
      name: objectNames(issuer.metadata).keyring,
      namespace: issuer.metadata.namespace,
      labels: { ...observed?.metadata.labels, ...commonLabels(issuer, 'keyring') },
      annotations: { ...observed?.metadata.annotations, ...revisionAnnotation(keyring.revision) },
    },
    data: { [keyringFile]: toBase64(encodeKeyring(keyring)) },
  };
}
