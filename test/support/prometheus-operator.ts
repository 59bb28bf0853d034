import { join } from 'node:path';
import { ensureModuleFiles } from './go-toolchain.ts';
import type { Log } from './process.ts';

/** Files of the CRDs of prometheus-operator that the chart has objects of, as it publishes them. */
export const ensureMonitoringCRDs = (log: Log): Promise<string[]> =>
  ensureModuleFiles(
    {
      name: 'prometheus-operator',
      source: join(import.meta.dirname, 'toolchain/prometheus-operator'),
      module: 'github.com/prometheus-operator/prometheus-operator',
      files: ['podmonitors', 'prometheusrules', 'servicemonitors'].map(
        (plural) => `example/prometheus-operator-crd/monitoring.coreos.com_${plural}.yaml`,
      ),
      title: 'the CRDs of prometheus-operator',
    },
    log,
  );
