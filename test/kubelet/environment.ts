import type { V1Container, V1EnvVar, V1EnvVarSource, V1Pod } from '@kubernetes/client-node';

/** Reads a Secret's or ConfigMap's values; undefined when there is no such object. */
export type Lookup = (kind: 'secrets' | 'configmaps', name: string) => Record<string, Buffer> | undefined;

/** Thrown for a pod that can't start as it is, with the words that a kubelet puts into `message`. */
export class ConfigError extends Error {}

/** What a container's process gets. */
export interface ProcessSpec {
  argv: string[];
  env: Record<string, string>;
}

/** The addresses and folders that stand for a pod's own network and file system. */
export interface PodPlace {
  podIP: string;
  hostIP: string;
  home: string;
  /** mountPath to host folder, of this container. */
  mounts: Map<string, string>;
}

/** The command line and environment of a container, as host process. `entrypoint` is the image's. */
export function processSpec(
  pod: V1Pod,
  container: V1Container,
  entrypoint: string[],
  place: PodPlace,
  lookup: Lookup,
): ProcessSpec {
  const podEnv = containerEnv(pod, container, place, lookup);
  const argv = [
    ...(container.command?.length ? [] : entrypoint),
    ...[...(container.command ?? []), ...(container.args ?? [])]
      .map((part) => expand(part, podEnv))
      .map((part) => relocate(part, place)),
  ];
  if (argv.length === 0) throw new ConfigError(`container ${container.name}: no command specified`);
  const env: Record<string, string> = {
    // Nothing else of the test runner's own environment leaks into a container.
    PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: place.home,
    HOSTNAME: pod.spec?.hostname ?? pod.metadata?.name ?? '',
  };
  for (const [name, value] of Object.entries(podEnv)) env[name] = relocate(value, place);
  return { argv, env };
}

function containerEnv(pod: V1Pod, container: V1Container, place: PodPlace, lookup: Lookup) {
  const env: Record<string, string> = {};
  for (const from of container.envFrom ?? []) {
    const [kind, ref] = from.secretRef
      ? (['secrets', from.secretRef] as const)
      : (['configmaps', from.configMapRef] as const);
    const values = lookup(kind, ref?.name ?? '');
    if (!values && !ref?.optional) throw new ConfigError(`${singular(kind)} "${ref?.name}" not found`);
    for (const [key, value] of Object.entries(values ?? {}))
      env[`${from.prefix ?? ''}${key}`] = value.toString();
  }
  for (const variable of container.env ?? []) {
    const value = envValue(pod, variable, env, place, lookup);
    if (value !== undefined) env[variable.name] = value;
  }
  return env;
}

function envValue(
  pod: V1Pod,
  variable: V1EnvVar,
  env: Record<string, string>,
  place: PodPlace,
  lookup: Lookup,
) {
  const source = variable.valueFrom;
  if (!source) return expand(variable.value ?? '', env);
  if (source.fieldRef) return fieldValue(pod, source.fieldRef.fieldPath, place);
  if (source.secretKeyRef) return keyValue('secrets', source.secretKeyRef, lookup);
  if (source.configMapKeyRef) return keyValue('configmaps', source.configMapKeyRef, lookup);
  throw new ConfigError(
    `env ${variable.name}: the process kubelet does not know ${Object.keys(source).join()}`,
  );
}

function keyValue(
  kind: 'secrets' | 'configmaps',
  ref: NonNullable<V1EnvVarSource['secretKeyRef']>,
  lookup: Lookup,
): string | undefined {
  const values = lookup(kind, ref.name ?? '');
  const value = values?.[ref.key];
  if (value !== undefined) return value.toString();
  if (ref.optional) return undefined;
  if (!values) throw new ConfigError(`${singular(kind)} "${ref.name}" not found`);
  throw new ConfigError(`couldn't find key ${ref.key} in ${singular(kind)} ${ref.name}`);
}

const singular = (kind: string) => kind.slice(0, -1);

/** The downward API's value of a field of a pod. */
export function fieldValue(pod: V1Pod, path: string, place: Pick<PodPlace, 'podIP' | 'hostIP'>): string {
  const [, map, key] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? [];
  if (map && key) return pod.metadata?.[map as 'labels' | 'annotations']?.[key] ?? '';
  const lines = (values: Record<string, string> | undefined) =>
    Object.entries(values ?? {})
      .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
      .sort()
      .join('\n');
  const fields: Record<string, () => string | undefined> = {
    'metadata.name': () => pod.metadata?.name,
    'metadata.namespace': () => pod.metadata?.namespace,
    'metadata.uid': () => pod.metadata?.uid,
    'metadata.labels': () => lines(pod.metadata?.labels),
    'metadata.annotations': () => lines(pod.metadata?.annotations),
    'spec.serviceAccountName': () => pod.spec?.serviceAccountName,
    'spec.nodeName': () => pod.spec?.nodeName,
    'status.podIP': () => place.podIP,
    'status.podIPs': () => place.podIP,
    'status.hostIP': () => place.hostIP,
    'status.hostIPs': () => place.hostIP,
  };
  const field = fields[path];
  if (!field) throw new ConfigError(`the process kubelet does not know the field ${path}`);
  return field() ?? '';
}

/** Kubernetes' `$(VAR)`; an unknown variable stays as it is written, `$$` is an escape. */
function expand(text: string, env: Record<string, string>): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (env[name] ?? whole),
  );
}

/**
 * Puts a value from the pod's world into the host's: the pod's localhost and wildcard addresses become its own
 * loopback address (that stands for a network namespace), paths under its mounts become host paths (that stands for
 * a mount namespace).
 */
function relocate(text: string, place: Pick<PodPlace, 'podIP' | 'mounts'>): string {
  let result = text
    .replace(/(?<![\w.])(127\.0\.0\.1|0\.0\.0\.0)(?![\w.])/g, place.podIP)
    .replace(/\[::1?\]/g, place.podIP)
    .replace(/^::1?$/, place.podIP)
    .replace(/(?<=^|\/\/|=)localhost(?=$|[:/])/g, place.podIP);
  const mountPaths = [...place.mounts.keys()].sort((a, b) => b.length - a.length);
  if (mountPaths.length > 0) {
    const paths = mountPaths.map((path) => path.replace(/[^\w/]/g, '\\$&')).join('|');
    result = result.replace(
      new RegExp(`(?<=^|[\\s=:,;"'(])(${paths})(?=$|[/\\s:,;"')])`, 'g'),
      (path) => place.mounts.get(path) ?? path,
    );
  }
  return result;
}
