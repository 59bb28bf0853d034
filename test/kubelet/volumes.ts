import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { V1KeyToPath, V1Pod, V1Volume, V1VolumeProjection } from '@kubernetes/client-node';
import { ConfigError, fieldValue, type Lookup, type PodPlace } from './environment.ts';

/** The files of a volume by relative path. */
export type Payload = Map<string, { data: Buffer; mode: number }>;

/** The Secrets and ConfigMaps that a pod names. */
export function references(pod: V1Pod): { kind: 'secrets' | 'configmaps'; name: string }[] {
  const found = new Set<string>();
  const add = (kind: 'secrets' | 'configmaps', name: string | undefined) => {
    if (name) found.add(`${kind}/${name}`);
  };
  for (const volume of pod.spec?.volumes ?? []) {
    add('secrets', volume.secret?.secretName);
    add('configmaps', volume.configMap?.name);
    for (const source of volume.projected?.sources ?? []) {
      add('secrets', source.secret?.name);
      add('configmaps', source.configMap?.name);
    }
  }
  for (const container of [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]) {
    for (const variable of container.env ?? []) {
      add('secrets', variable.valueFrom?.secretKeyRef?.name);
      add('configmaps', variable.valueFrom?.configMapKeyRef?.name);
    }
    for (const from of container.envFrom ?? []) {
      add('secrets', from.secretRef?.name);
      add('configmaps', from.configMapRef?.name);
    }
  }
  return [...found].map((entry) => {
    const [kind, name] = entry.split('/') as ['secrets' | 'configmaps', string];
    return { kind, name };
  });
}

/** What a volume's files should be; undefined for a plain folder. Throws ConfigError when something is missing. */
export async function volumePayload(
  pod: V1Pod,
  volume: V1Volume,
  place: Pick<PodPlace, 'podIP' | 'hostIP'>,
  lookup: Lookup,
  token: (audience: string | undefined, seconds: number) => Promise<string>,
): Promise<Payload | undefined> {
  if (volume.emptyDir) return undefined;
  const payload: Payload = new Map();
  const sources: V1VolumeProjection[] = volume.projected
    ? (volume.projected.sources ?? [])
    : [
        {
          ...(volume.secret && { secret: { ...volume.secret, name: volume.secret.secretName ?? '' } }),
          ...(volume.configMap && { configMap: volume.configMap }),
          ...(volume.downwardAPI && { downwardAPI: volume.downwardAPI }),
        },
      ];
  const mode =
    (volume.secret ?? volume.configMap ?? volume.downwardAPI ?? volume.projected)?.defaultMode ?? 0o644;
  for (const source of sources) {
    if (source.secret) addKeys(payload, 'secrets', source.secret, mode, lookup);
    else if (source.configMap) addKeys(payload, 'configmaps', source.configMap, mode, lookup);
    else if (source.downwardAPI) {
      for (const item of source.downwardAPI.items ?? []) {
        const data = Buffer.from(fieldValue(pod, item.fieldRef?.fieldPath ?? 'resourceFieldRef', place));
        payload.set(item.path, { data, mode: item.mode ?? mode });
      }
    } else if (source.serviceAccountToken) {
      const { audience, expirationSeconds, path } = source.serviceAccountToken;
      payload.set(path, { data: Buffer.from(await token(audience, expirationSeconds ?? 3600)), mode });
    } else {
      throw new ConfigError(
        `the process kubelet does not know this kind of volume: ${JSON.stringify(volume)}`,
      );
    }
  }
  return payload;
}

function addKeys(
  payload: Payload,
  kind: 'secrets' | 'configmaps',
  source: { name?: string; items?: V1KeyToPath[]; optional?: boolean },
  mode: number,
  lookup: Lookup,
) {
  const values = lookup(kind, source.name ?? '');
  if (!values) {
    if (source.optional) return;
    throw new ConfigError(`${kind.slice(0, -1)} "${source.name}" not found`);
  }
  const items = source.items ?? Object.keys(values).map((key): V1KeyToPath => ({ key, path: key }));
  for (const item of items) {
    const data = values[item.key];
    if (data) payload.set(item.path, { data, mode: item.mode ?? mode });
    else if (!source.optional) {
      throw new ConfigError(`references non-existent ${kind.slice(0, -1)} key: ${item.key}`);
    }
  }
}

/** Whether two payloads are the same files. */
export function samePayload(a: Payload, b: Payload): boolean {
  return (
    a.size === b.size &&
    [...a].every(([path, file]) => b.get(path)?.data.equals(file.data) && b.get(path)?.mode === file.mode)
  );
}

/**
 * Writes a volume as kubelet's AtomicWriter does: the files go into a new folder, then the link `..data` is swapped by
 * a rename, so that a reader sees all of the old or all of the new files.
 */
export async function writeVolume(volumeDir: string, payload: Payload): Promise<void> {
  await mkdir(volumeDir, { recursive: true });
  const old = await readlink(join(volumeDir, '..data')).catch(() => undefined);
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-T:]/g, '_');
  const fresh = `..${stamp}.${randomBytes(4).readUInt32BE()}`;
  await mkdir(join(volumeDir, fresh));
  for (const [path, { data, mode }] of payload) {
    const file = join(volumeDir, fresh, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, data);
    await chmod(file, mode);
  }
  await symlink(fresh, join(volumeDir, '..data_tmp'));
  await rename(join(volumeDir, '..data_tmp'), join(volumeDir, '..data'));

  const visible = new Set([...payload.keys()].map((path) => path.split('/')[0] ?? path));
  const present = new Set((await readdir(volumeDir)).filter((entry) => !entry.startsWith('..')));
  for (const name of visible) {
    if (!present.has(name)) await symlink(join('..data', name), join(volumeDir, name));
  }
  for (const name of present) {
    if (!visible.has(name)) await rm(join(volumeDir, name));
  }
  if (old) await rm(join(volumeDir, old), { recursive: true, force: true });
}
