import { annotations, group, issuerLabel, labels, type MacpAuthIssuer, managedBy } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';

/** Labels of every object that an issuer becomes. */
export const commonLabels = (issuer: MacpAuthIssuer, component: string): Record<string, string> => ({
  [labels.managedBy]: managedBy,
  [labels.name]: 'macp-auth-issuer',
  [labels.instance]: issuer.metadata.name,
  [labels.component]: component,
  [labels.partOf]: 'macp-auth',
  [labels.issuer]: issuerLabel(issuer.metadata),
});

/** Owner reference of a child: the garbage collector takes it with the issuer. */
export const ownerReference = (issuer: MacpAuthIssuer) => ({
  apiVersion: `${group}/v1alpha1`,
  kind: 'MacpAuthIssuer',
  name: issuer.metadata.name,
  uid: issuer.metadata.uid,
  controller: true,
});

/** Annotation that says which revision of the keyring an object derives from. */
export const revisionAnnotation = (revision: number): Record<string, string> => ({
  [annotations.revision]: String(revision),
});

/** The revision that an object derives from, 0 for none. */
export const revisionOf = (object: KubeObject | undefined): number =>
  Number(object?.metadata.annotations?.[annotations.revision] ?? 0) || 0;
