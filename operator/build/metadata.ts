import { annotations, group, issuerLabel, labels, type MacpAuthIssuer, managedBy } from '../api/names.ts';
import type { KubeObject } from '../cluster/resources.ts';

/** Value of {@link labels.name}. */
export const issuerAppName = 'macp-auth-issuer';

/** Labels of every object that an issuer becomes. */
export const commonLabels = (issuer: MacpAuthIssuer, component: string): Record<string, string> => ({
  [labels.managedBy]: managedBy,
  [labels.name]: issuerAppName,
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

/** Annotations of an object that derives from the keyring and the spec: of which of each it does. */
export const derivedAnnotations = (
  { metadata }: MacpAuthIssuer,
  revision: number,
): Record<string, string> => ({
  ...revisionAnnotation(revision),
  [annotations.issuerGeneration]: `${metadata.uid}/${metadata.generation}`,
});

/** The generation of the issuer with this uid that an object derives from, 0 for none. */
export function generationOf(object: KubeObject, uid: string): number {
  const [of, text = ''] = (object.metadata.annotations?.[annotations.issuerGeneration] ?? '').split('/');
  return of === uid && /^[1-9][0-9]{0,11}$/.test(text) ? Number(text) : 0;
}

/** An object as deriving from the generation that another names. */
export const withGenerationOf = (object: KubeObject, other: KubeObject): KubeObject => {
  const { metadata } = object;
  const generation = other.metadata.annotations?.[annotations.issuerGeneration];
  const annotated = { ...metadata.annotations, [annotations.issuerGeneration]: String(generation) };
  return { ...object, metadata: { ...metadata, annotations: annotated } };
};

/** The revision that an object derives from, 0 for none and for what counting could not have reached. */
export function revisionOf(object: KubeObject | undefined): number {
  const text = object?.metadata.annotations?.[annotations.revision] ?? '';
  return /^[1-9][0-9]{0,11}$/.test(text) ? Number(text) : 0;
}

/** Whether an object is this issuer's: by the type of Secret that only we make, or else by its label or owner. */
export function isOurs(
  current: KubeObject,
  desired: { [member: string]: unknown },
  issuer: MacpAuthIssuer,
): boolean {
  // Anybody may put a label on a Secret, but its type says what it was made as.
  if (desired.type !== undefined) return current.type === desired.type;
  if (current.metadata.labels?.[labels.issuer] === issuerLabel(issuer.metadata)) return true;
  return current.metadata.ownerReferences?.some(({ uid }) => uid === issuer.metadata.uid) ?? false;
}
