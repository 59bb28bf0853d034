import { runForOutput, spawnTethered } from '../support/process.ts';

/** Runs kubectl against a kubeconfig. */
export interface Kubectl {
  /** Resolves with what it printed, without the last line break; rejects with what it printed to stderr. */
  run(args: string[], input?: string): Promise<string>;
  /** Forwards a free local port to a port of a pod, until this process ends; resolves with the local port. */
  forward(namespace: string, pod: string, port: number): Promise<number>;
}

/** Kubectl with the program and the kubeconfig that are given, and no other configuration. */
export function kubectlFor(program: string, kubeconfig: string): Kubectl {
  const argv = (args: string[]) => ['--kubeconfig', kubeconfig, ...args];
  return {
    run: (args, input) =>
      runForOutput([program, ...argv(args)], {
        label: `kubectl ${args.join(' ')}`,
        ...(input !== undefined && { input }),
      }),
    async forward(namespace, pod, port) {
      const child = spawnTethered(
        [program, ...argv(['port-forward', '-n', namespace, `pod/${pod}`, `:${port}`])],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      for await (const chunk of child.stdout ?? []) {
        const local = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(String(chunk))?.[1];
        if (local) return Number(local);
      }
      throw new Error(`kubectl port-forward pod/${pod} ended`);
    },
  };
}
