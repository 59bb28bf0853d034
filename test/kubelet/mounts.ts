import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CoreV1Api, V1Container, V1Pod } from '@kubernetes/client-node';
import { ConfigError, type Lookup, type PodPlace } from './environment.ts';
import { type Payload, samePayload, volumePayload, writeVolume } from './volumes.ts';

/** The volumes of one pod as folders of this machine. */
export class Mounts {
  /** All volumes have been laid out once. */
  complete = false;
  readonly #dir: string;
  readonly #core: CoreV1Api;
  readonly #payloads = new Map<string, Payload | undefined>();
  readonly #tokens = new Map<string, string>();

  constructor(dir: string, core: CoreV1Api) {
    this.#dir = dir;
    this.#core = core;
  }

  /** The folder of each volume. */
  folders(): Record<string, string> {
    return Object.fromEntries([...this.#payloads.keys()].map((name) => [name, join(this.#dir, name)]));
  }

  /** mountPath to folder, for one container. */
  of(container: V1Container): Map<string, string> {
    return new Map(
      (container.volumeMounts ?? []).map(({ name, mountPath, subPath }) => [
        mountPath.replace(/(?<=.)\/$/, ''),
        join(this.#dir, name, subPath ?? ''),
      ]),
    );
  }

  /** Lays the volumes out, or brings them up to date. Throws while something is missing that never was there. */
  async update(pod: V1Pod, place: Pick<PodPlace, 'podIP' | 'hostIP'>, lookup: Lookup): Promise<void> {
    const payloads = new Map<string, Payload | undefined>();
    for (const volume of pod.spec?.volumes ?? []) {
      try {
        const token = (audience: string | undefined, seconds: number) => this.#token(pod, audience, seconds);
        payloads.set(volume.name, await volumePayload(pod, volume, place, lookup, token));
      } catch (error) {
        // Files once mounted stay when their Secret goes.
        if (this.complete) continue;
        const message = `MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`;
        throw error instanceof ConfigError ? new ConfigError(message) : new Error(message, { cause: error });
      }
    }
    for (const [name, payload] of payloads) {
      const before = this.#payloads.get(name);
      const folder = join(this.#dir, name);
      if (!payload) await mkdir(folder, { recursive: true });
      else if (!before || !samePayload(before, payload)) await writeVolume(folder, payload);
      this.#payloads.set(name, payload);
    }
    this.complete = true;
  }

  // Not renewed: tests are over before a token is.
  async #token(pod: V1Pod, audience: string | undefined, expirationSeconds: number): Promise<string> {
    const key = `${audience} ${expirationSeconds}`;
    const known = this.#tokens.get(key);
    if (known) return known;
    const { namespace = '', name = '', uid = '' } = pod.metadata ?? {};
    const { status } = await this.#core.createNamespacedServiceAccountToken({
      namespace,
      name: pod.spec?.serviceAccountName ?? 'default',
      body: {
        spec: {
          audiences: audience ? [audience] : [],
          expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
        },
      },
    });
    const token = status?.token ?? '';
    this.#tokens.set(key, token);
    return token;
  }
}
