import { isDeepStrictEqual } from 'node:util';
import {
  type CoreV1Api,
  PatchStrategy,
  setHeaderOptions,
  type V1Pod,
  type V1PodStatus,
} from '@kubernetes/client-node';
import type { Container } from './container.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

type Condition = { type: string; status: 'True' | 'False'; reason?: string; lastTransitionTime: string };

/** Builds a pod's status, with the times at which conditions changed kept from call to call. */
export class StatusBuilder {
  readonly #transitions = new Map<string, { status: string; at: string }>();
  readonly #startTime = new Date().toISOString();

  build(options: {
    pod: V1Pod;
    phase: Phase;
    podIP: string;
    hostIP: string;
    initialized: boolean;
    containers: Container[];
  }): V1PodStatus {
    const { pod, phase, podIP, hostIP, containers } = options;
    const lasting = containers.filter(({ role }) => role !== 'init');
    const over = phase === 'Succeeded' || phase === 'Failed';
    const ready = !over && lasting.every((container) => container.ready);
    const reason = over ? 'PodCompleted' : 'ContainersNotReady';
    const ours = [
      this.#condition('PodScheduled', true),
      this.#condition('Initialized', options.initialized, 'ContainersNotInitialized'),
      this.#condition('ContainersReady', ready, reason),
      this.#condition('Ready', ready, reason),
    ];
    // Others write conditions too (an eviction, for one), and a merge patch replaces the list.
    const others = (pod.status?.conditions ?? []).filter(
      ({ type }) => !ours.some((own) => own.type === type),
    );
    const statuses = (init: boolean) =>
      containers.filter(({ role }) => (role !== 'regular') === init).map((container) => container.status());
    return {
      phase,
      podIP,
      podIPs: [{ ip: podIP }],
      hostIP,
      hostIPs: [{ ip: hostIP }],
      startTime: this.#startTime,
      conditions: [...ours, ...others],
      initContainerStatuses: statuses(true),
      containerStatuses: statuses(false),
    } as unknown as V1PodStatus;
  }

  #condition(type: string, met: boolean, otherwise?: string): Condition {
    const status = met ? 'True' : 'False';
    let transition = this.#transitions.get(type);
    if (transition?.status !== status) {
      transition = { status, at: new Date().toISOString() };
      this.#transitions.set(type, transition);
    }
    return {
      type,
      status,
      ...(!met && otherwise && { reason: otherwise }),
      lastTransitionTime: transition.at,
    };
  }
}

/** Writes the latest status when it changed, one request at a time, for as long as it takes. */
export class StatusWriter {
  #written: V1PodStatus | undefined;
  #wanted: V1PodStatus | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;
  readonly #core: CoreV1Api;
  readonly #pod: V1Pod;

  constructor(core: CoreV1Api, pod: V1Pod) {
    this.#core = core;
    this.#pod = pod;
  }

  set(status: V1PodStatus): void {
    this.#wanted = status;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      // It may have been set after the last look.
      if (this.#wanted && this.#pending) this.set(this.#wanted);
    });
  }

  /** Returns when the latest status is written, or the writer is closed. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  close(): void {
    this.#closed = true;
  }

  get #pending(): boolean {
    return !this.#closed && !isDeepStrictEqual(this.#wanted, this.#written);
  }

  async #write(): Promise<void> {
    while (this.#pending) {
      const status = this.#wanted as V1PodStatus;
      const { name = '', namespace = '', uid } = this.#pod.metadata ?? {};
      try {
        await this.#core.patchNamespacedPodStatus(
          // The uid keeps it from a later pod of the same name.
          { name, namespace, body: { metadata: { uid }, status } },
          setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
        );
        this.#written = status;
      } catch (error) {
        const code = (error as { code?: number }).code;
        if (code === 404 || code === 409) this.#closed = true;
        else await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  }
}
