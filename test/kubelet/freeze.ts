import { setTimeout as sleep } from 'node:timers/promises';
import { type CoreV1Api, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';

/** While a pod has this annotation as "true", its mounted files stay as they are. */
export const freezeAnnotation = 'process-kubelet/freeze';

/** Sets the annotation, and waits until the kubelet of the pod goes by it, as `current` tells. */
export async function setFrozen(
  core: CoreV1Api,
  namespace: string,
  name: string,
  frozen: boolean,
  current: () => Promise<boolean | undefined>,
): Promise<void> {
  const body = { metadata: { annotations: { [freezeAnnotation]: frozen ? 'true' : null } } };
  const header = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  await core.patchNamespacedPod({ namespace, name, body }, header);
  const deadline = Date.now() + 5000;
  while ((await current()) !== frozen) {
    if (Date.now() > deadline) throw new Error(`pod ${namespace}/${name} does not run in this kubelet`);
    await sleep(10);
  }
}
