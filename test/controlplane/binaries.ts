import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cached } from '../support/cache.ts';
import { type Log, runWithProgress, which } from '../support/process.ts';

const run = promisify(execFile);

/** The programs of a control plane, as paths. */
export interface Binaries {
  etcd: string;
  'kube-apiserver': string;
  'kube-controller-manager': string;
  kubectl: string;
}

interface Toolchain {
  name: string;
  module: string;
  packages: Record<string, string>;
  ldflags: (version: string) => string;
}

const versionFlags = (version: string) => {
  const [major, minor] = version.slice(1).split('.');
  return ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
    .flatMap((pkg) => [
      `-X ${pkg}.gitVersion=${version}`,
      `-X ${pkg}.gitMajor=${major}`,
      `-X ${pkg}.gitMinor=${minor}`,
    ])
    .join(' ');
};

const kubernetes: Toolchain = {
  name: 'kubernetes',
  module: 'k8s.io/kubernetes',
  packages: {
    'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
    'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
    kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  },
  ldflags: (version) => `-s -w ${versionFlags(version)}`,
};

const etcd: Toolchain = {
  name: 'etcd',
  module: 'go.etcd.io/etcd/server/v3',
  packages: { etcd: 'go.etcd.io/etcd/server/v3' },
  ldflags: () => '-s -w',
};

/**
 * Finds the programs of a control plane: in KUBEBUILDER_ASSETS where that has a version that serves, else in the
 * cache, else by building them with Go (about ten minutes, once).
 */
export async function ensureBinaries({ log }: { log: Log }): Promise<Binaries> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets) {
    const problem = await problemOfAssets(assets);
    if (!problem) return binariesIn(assets, assets);
    log(`KUBEBUILDER_ASSETS=${assets} is passed over: ${problem}`);
  }
  const etcdDir = await ensureToolchain(etcd, log);
  return binariesIn(etcdDir, await ensureToolchain(kubernetes, log));
}

function binariesIn(etcdDir: string, kubernetesDir: string): Binaries {
  return {
    etcd: join(etcdDir, 'etcd'),
    'kube-apiserver': join(kubernetesDir, 'kube-apiserver'),
    'kube-controller-manager': join(kubernetesDir, 'kube-controller-manager'),
    kubectl: join(kubernetesDir, 'kubectl'),
  };
}

async function problemOfAssets(folder: string): Promise<string | undefined> {
  for (const [name, file] of Object.entries(binariesIn(folder, folder))) {
    if (!existsSync(file)) return `it has no ${name}`;
  }
  try {
    const { stdout } = await run(join(folder, 'kube-apiserver'), ['--version']);
    const [, major, minor] = /v(\d+)\.(\d+)/.exec(stdout) ?? [];
    // MutatingAdmissionPolicy v1 begins there.
    if (Number(major) === 1 && Number(minor) >= 36) return undefined;
    return `Kubernetes 1.36 or later is needed, and it has ${stdout.trim()}`;
  } catch (error) {
    return `its kube-apiserver does not run: ${(error as Error).message}`;
  }
}

async function ensureToolchain(toolchain: Toolchain, log: Log): Promise<string> {
  const source = join(import.meta.dirname, 'toolchain', toolchain.name);
  const goMod = await readFile(join(source, 'go.mod'), 'utf8');
  const goSum = await readFile(join(source, 'go.sum'), 'utf8');
  const version = new RegExp(`^\\s*${toolchain.module} (v\\S+)`, 'm').exec(goMod)?.[1];
  const goVersion = /^go (\S+)/m.exec(goMod)?.[1];
  if (!version || !goVersion) throw new Error(`${source}/go.mod names no version of ${toolchain.module}`);

  const flags = ['-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags', toolchain.ldflags(version)];
  const hash = createHash('sha256')
    .update(JSON.stringify([goMod, goSum, flags, toolchain.packages, process.platform, process.arch]))
    .digest('hex')
    .slice(0, 12);
  return cached(
    toolchain.name,
    `${version}-${hash}`,
    async (dir) => {
      const go = await requireGo(goVersion, source);
      for (const [name, pkg] of Object.entries(toolchain.packages)) {
        log(`${name} ${version}: building with Go, once; later starts take it from the cache`);
        await runWithProgress([go, 'build', '-v', ...flags, '-o', join(dir, name), pkg], {
          label: `${name} ${version}`,
          unit: 'packages compiled',
          log,
          cwd: source,
          env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
        });
      }
    },
    log,
  );
}

async function requireGo(needed: string, source: string): Promise<string> {
  const alternative =
    'or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl (Kubernetes 1.36 or later)';
  const go = which('go');
  if (!go) {
    throw new Error(
      `Go ${needed} or later builds the test control plane, and PATH has no go: install it, ${alternative}`,
    );
  }
  try {
    // Asked inside the module, so that GOTOOLCHAIN may fetch the version that it names, where that is allowed.
    await run(go, ['list', '-m'], { cwd: source });
  } catch {
    const { stdout } = await run(go, ['version'], { cwd: '/' });
    throw new Error(
      `Go ${needed} or later builds the test control plane, and ${go} is ${stdout.trim()}: install a newer one, ${alternative}`,
    );
  }
  return go;
}
