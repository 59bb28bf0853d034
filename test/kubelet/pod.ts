import { mkdirSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { CoreV1Api, V1Container, V1Pod } from '@kubernetes/client-node';
import type { Log } from '../support/process.ts';
import type { AddressBlock } from './block.ts';
import { type BackOff, Container, type Role } from './container.ts';
import { ConfigError, type PodPlace, processSpec } from './environment.ts';
import { freezeAnnotation } from './freeze.ts';
import { Mounts } from './mounts.ts';
import { requireKnownProbes } from './probe.ts';
import type { Reaper } from './reaper.ts';
import type { References } from './references.ts';
import { type Phase, StatusBuilder, StatusWriter } from './status.ts';
import { references } from './volumes.ts';

/** What is known of a pod on this machine; also in `<kubelet dir>/pods/<namespace>_<name>/info.json`. */
export interface PodInfo {
  namespace: string;
  name: string;
  uid: string;
  ip: string;
  frozen: boolean;
  /** The host folder of each volume. */
  volumes: Record<string, string>;
  containers: Record<string, { pid?: number; restartCount: number; log: string }>;
}

/** What the pods of a kubelet share. */
export interface PodContext {
  core: CoreV1Api;
  references: References;
  block: AddressBlock;
  images: Record<string, readonly string[]>;
  podsDir: string;
  logsDir: string;
  cwd: string;
  backOff: BackOff;
  reaper: Reaper;
  volumeDelayMs: number;
  log: Log;
  event(pod: V1Pod, type: 'Normal' | 'Warning', reason: string, message: string): void;
}

/** Runs one pod: compares what should be with what is, each time something wakes it. */
export class PodRunner {
  /** Resolves when no process and no folder of it is left. */
  readonly done: Promise<void>;
  readonly ip: string;
  readonly #context: PodContext;
  readonly #containers: Container[];
  readonly #status = new StatusBuilder();
  readonly #writer: StatusWriter;
  readonly #dir: string;
  readonly #mounts: Mounts;
  readonly #release: (() => void)[];
  readonly #said = new Set<string>();
  #pod: V1Pod;
  #phase: Phase;
  #initialized = false;
  // Under a kubelet before this one: its status is not ours to write.
  readonly #endedBefore: boolean;
  #volumesHeldUntil = 0;
  #info: PodInfo | undefined;
  #dirty = false;
  #busy: Promise<void> | undefined;
  #gone = false;
  #finish: () => void = () => {};

  constructor(pod: V1Pod, context: PodContext) {
    this.#pod = pod;
    this.#context = context;
    this.ip = context.block.take();
    this.#phase = (pod.status?.phase as Phase | undefined) ?? 'Pending';
    this.#endedBefore = this.#phase === 'Succeeded' || this.#phase === 'Failed';
    this.#dir = join(context.podsDir, `${this.namespace}_${this.name}`);
    this.#mounts = new Mounts(join(this.#dir, 'volumes'), context.core);
    this.#writer = new StatusWriter(context.core, pod);
    const logs = join(context.logsDir, `${this.namespace}_${this.name}_${this.uid}`);
    mkdirSync(logs, { recursive: true });
    this.#containers = containersOf(pod, logs, context, () => this.wake());
    this.#release = references(pod).map(({ kind, name }) =>
      context.references.acquire(this.namespace, kind, name, () => this.#onReferenceChange()),
    );
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.wake();
  }

  get namespace(): string {
    return this.#pod.metadata?.namespace ?? '';
  }

  get name(): string {
    return this.#pod.metadata?.name ?? '';
  }

  get uid(): string {
    return this.#pod.metadata?.uid ?? '';
  }

  get frozen(): boolean {
    return this.#pod.metadata?.annotations?.[freezeAnnotation] === 'true';
  }

  update(pod: V1Pod): void {
    this.#pod = pod;
    this.wake();
  }

  info(): PodInfo {
    return {
      namespace: this.namespace,
      name: this.name,
      uid: this.uid,
      ip: this.ip,
      frozen: this.frozen,
      volumes: this.#mounts.folders(),
      containers: Object.fromEntries(
        this.#containers.map(({ name, pid, restartCount, logFile }) => [
          name,
          { ...(pid && { pid }), restartCount, log: logFile },
        ]),
      ),
    };
  }

  /** The pod's object is gone, or the kubelet stops: ends everything at once. */
  async remove(): Promise<void> {
    if (this.#gone) return this.done;
    this.#gone = true;
    this.#writer.close();
    await Promise.all(this.#containers.map((container) => container.kill()));
    await this.#busy;
    // A process may have been started while the first ones were killed.
    await Promise.all(this.#containers.map((container) => container.kill()));
    for (const release of this.#release.splice(0)) release();
    await rm(this.#dir, { recursive: true, force: true });
    this.#context.block.giveBack(this.ip);
    this.#finish();
  }

  /** Compares again what should be with what is. */
  wake(): void {
    this.#dirty = true;
    this.#busy ??= this.#loop().finally(() => {
      this.#busy = undefined;
      // It may have been woken after the loop's last look.
      if (this.#dirty && !this.#gone) this.wake();
    });
  }

  async #loop(): Promise<void> {
    // Lets a burst of events settle, and a constructor finish.
    await Promise.resolve();
    while (this.#dirty && !this.#gone) {
      this.#dirty = false;
      try {
        await this.#sync();
        await this.#publish();
      } catch (error) {
        this.#context.log(`pod ${this.namespace}/${this.name}: ${(error as Error).stack}`);
        setTimeout(() => this.wake(), 1000);
      }
    }
  }

  async #sync(): Promise<void> {
    if (this.#pod.metadata?.deletionTimestamp) return this.#terminate();
    if (this.#phase === 'Succeeded' || this.#phase === 'Failed') return;
    if (!(await this.#mount())) return;

    for (const container of this.#containers.filter(({ role }) => role !== 'regular')) {
      await this.#ensureRunning(container);
      if (container.role === 'init' && container.finished && container.exitCode !== 0)
        return this.#end('Failed');
      if (container.role === 'init' ? !container.finished : !container.started && !this.#initialized) return;
    }
    this.#initialized = true;

    const regular = this.#containers.filter(({ role }) => role === 'regular');
    for (const container of regular) await this.#ensureRunning(container);
    if (regular.every((container) => container.everRan)) this.#phase = 'Running';
    if (regular.every((container) => container.finished)) {
      await this.#end(regular.every(({ exitCode }) => exitCode === 0) ? 'Succeeded' : 'Failed');
    }
  }

  async #ensureRunning(container: Container): Promise<void> {
    if (!container.startable) return;
    const image = container.spec.image ?? '';
    const entrypoint = this.#context.images[image];
    if (!entrypoint) {
      const known = Object.keys(this.#context.images).join(', ');
      const message = `image "${image}" is unknown to the process kubelet, which knows: ${known}`;
      container.wait('ErrImagePull', message);
      return this.#say('Failed', `Failed to pull image "${image}": ${message}`);
    }
    const place: PodPlace = {
      podIP: this.ip,
      hostIP: this.#context.block.hostIP,
      home: this.#dir,
      mounts: this.#mounts.of(container.spec),
    };
    try {
      requireKnownProbes(container.spec);
      const lookup = this.#context.references.lookup(this.namespace);
      const spec = processSpec(this.#pod, container.spec, [...entrypoint], place, lookup);
      if (this.#gone) return;
      container.start(spec, this.ip, this.#context.cwd);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      container.wait('CreateContainerConfigError', error.message);
      this.#say('Failed', `Error: ${error.message}`);
    }
  }

  /** Lays the volumes out, or brings them up to date; false while something is missing. */
  async #mount(): Promise<boolean> {
    const { references: known, block } = this.#context;
    if (!this.#mounts.complete) {
      const named = references(this.#pod);
      if (!named.every(({ kind, name }) => known.isSynced(this.namespace, kind, name))) return false;
    } else if (this.frozen || Date.now() < this.#volumesHeldUntil) return true;
    try {
      const place = { podIP: this.ip, hostIP: block.hostIP };
      await this.#mounts.update(this.#pod, place, known.lookup(this.namespace));
      return true;
    } catch (error) {
      this.#say('FailedMount', (error as Error).message);
      // What is missing wakes it when it comes, a failed request does not.
      if (!(error instanceof ConfigError)) setTimeout(() => this.wake(), 500);
      return false;
    }
  }

  #onReferenceChange(): void {
    const delay = this.#context.volumeDelayMs;
    if (delay > 0 && this.#mounts.complete) {
      this.#volumesHeldUntil = Date.now() + delay;
      setTimeout(() => this.wake(), delay + 1);
    } else this.wake();
  }

  /** All that had to end has ended: the sidecars follow, the last one started first. */
  async #end(phase: 'Succeeded' | 'Failed'): Promise<void> {
    await this.#retireSidecars(Date.now() + this.#gracePeriodMs());
    this.#phase = phase;
    for (const release of this.#release.splice(0)) release();
  }

  async #retireSidecars(deadline: number): Promise<void> {
    for (const sidecar of this.#containers.filter(({ role }) => role === 'sidecar').reverse()) {
      await sidecar.retire(deadline);
    }
  }

  #gracePeriodMs(): number {
    const { metadata, spec } = this.#pod;
    return (metadata?.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 30) * 1000;
  }

  async #terminate(): Promise<void> {
    const deadline = Date.now() + this.#gracePeriodMs();
    const first = this.#containers.filter(({ role }) => role !== 'sidecar');
    await Promise.all(first.map((container) => container.retire(deadline)));
    await this.#retireSidecars(deadline);
    if (this.#phase === 'Pending' || this.#phase === 'Running') {
      const regular = first.filter(({ role }) => role === 'regular');
      this.#phase = regular.every(({ exitCode }) => exitCode === 0) ? 'Succeeded' : 'Failed';
    }
    await this.#publish();
    await this.#writer.flush();
    if (this.#gone) return;
    const { name, namespace, uid } = this;
    try {
      await this.#context.core.deleteNamespacedPod({
        name,
        namespace,
        body: { gracePeriodSeconds: 0, preconditions: { uid } },
      });
    } catch (error) {
      const code = (error as { code?: number }).code;
      if (code !== 404 && code !== 409) setTimeout(() => this.wake(), 500);
    }
  }

  async #publish(): Promise<void> {
    if (this.#gone || this.#endedBefore) return;
    this.#writer.set(
      this.#status.build({
        pod: this.#pod,
        phase: this.#phase,
        podIP: this.ip,
        hostIP: this.#context.block.hostIP,
        initialized: this.#initialized,
        containers: this.#containers,
      }),
    );
    const info = this.info();
    if (isDeepStrictEqual(info, this.#info)) return;
    this.#info = info;
    await mkdir(this.#dir, { recursive: true });
    await writeFile(join(this.#dir, 'info.json.tmp'), JSON.stringify(info, null, 2));
    await rename(join(this.#dir, 'info.json.tmp'), join(this.#dir, 'info.json'));
  }

  #say(reason: string, message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#context.event(this.#pod, 'Warning', reason, message);
  }
}

function containersOf(pod: V1Pod, logs: string, context: PodContext, changed: () => void): Container[] {
  const known = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const container = (spec: V1Container, role: Role) => {
    const before = known.find(({ name }) => name === spec.name);
    return new Container({
      spec,
      role,
      logFile: join(logs, `${spec.name}.log`),
      // A pod that another kubelet ran before starts anew, and that counts.
      restartCount: before?.containerID ? before.restartCount + 1 : 0,
      restartPolicy: pod.spec?.restartPolicy ?? 'Always',
      waiting: pod.spec?.initContainers?.length ? 'PodInitializing' : 'ContainerCreating',
      gracePeriodMs: (pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000,
      backOff: context.backOff,
      reaper: context.reaper,
      changed,
    });
  };
  return [
    ...(pod.spec?.initContainers ?? []).map((spec) =>
      container(spec, spec.restartPolicy === 'Always' ? 'sidecar' : 'init'),
    ),
    ...(pod.spec?.containers ?? []).map((spec) => container(spec, 'regular')),
  ];
}
