import type { MacpAuthIssuerSpec, MacpAuthIssuerStatus } from './v1alpha1.ts';

/** The API group of the custom resource, and the prefix of our labels and annotations. */
export const group = 'auth.multiagentcoordinationprotocol.io';

/** Name of its CustomResourceDefinition. */
export const crdName = `macpauthissuers.${group}`;

/** Field manager of every server-side apply. */
export const fieldManager = 'macp-auth-operator';

/** Finalizer on an issuer, and on nothing else: a child must never hold up its namespace. */
export const finalizer = `${group}/finalizer`;

/** Labels that the operator sets; by them it finds its objects again. */
export const labels = {
  managedBy: 'app.kubernetes.io/managed-by',
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  component: 'app.kubernetes.io/component',
  partOf: 'app.kubernetes.io/part-of',
  /** `<issuer namespace>.<issuer name>`, at most 63 characters. */
  issuer: `${group}/issuer`,
} as const;

/** Value of {@link labels.managedBy}. */
export const managedBy = 'macp-auth-operator';

/** Annotations that the operator sets. */
export const annotations = {
  /** Revision of the keyring that an object derives from. */
  revision: `${group}/keyring-revision`,
  /** Uid and generation of the issuer that an object derives from, as `<uid>/<generation>`. */
  issuerGeneration: `${group}/issuer-generation`,
  /** Hash of the object as it was applied: a field that we no longer set shows as a difference. */
  appliedHash: `${group}/applied-hash`,
  /** On a pod: the resourceVersion of the files that it should hurry to take. Any change makes kubelet look at once. */
  filesVersion: `${group}/files-version`,
  /** On an agent Secret that stays after its issuer, since it holds keys that the keyring lacks. */
  retained: `${group}/retained`,
} as const;

/** Namespace and name of an issuer. */
export interface IssuerKey {
  namespace: string;
  name: string;
}

/** A `MacpAuthIssuer` as the API server stores it, with its defaults. */
export interface MacpAuthIssuer {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    generation: number;
    finalizers?: string[];
    deletionTimestamp?: string;
  };
  spec: MacpAuthIssuerSpec;
  status?: MacpAuthIssuerStatus;
}

/** Value of {@link labels.issuer} for an issuer; neither part can contain a dot twice, so it reads back. */
export const issuerLabel = ({ namespace, name }: IssuerKey): string => `${namespace}.${name}`;

/** Names of the objects that an issuer becomes, all in its namespace. */
export const objectNames = (key: IssuerKey) => ({
  keyring: `macp-auth-keyring.${key.name}`,
  agentSecret: `macp-auth.${issuerLabel(key)}`,
  server: `macp-auth-${key.name}`,
});

/** The issuer that a label value names, or undefined when it names none. */
export function issuerOfLabel(value: string | undefined): IssuerKey | undefined {
  const dot = value?.indexOf('.') ?? -1;
  if (value === undefined || dot <= 0 || dot === value.length - 1) return undefined;
  return { namespace: value.slice(0, dot), name: value.slice(dot + 1) };
}
