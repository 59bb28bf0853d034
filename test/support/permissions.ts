import { parseAllDocuments } from 'yaml';
import { renderChart } from './helm.ts';
import type { Log } from './process.ts';

/** A rule of a Role or ClusterRole. */
export interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}

const log: Log = (line) => process.stderr.write(`${line}\n`);
const image = 'not-run-here';

/** The chart's objects of some templates, as YAML, for an operator that is not run by the chart. */
export const renderPrerequisites = (only: string[], namespaces: readonly string[] = []): Promise<string> =>
  renderChart({ log, values: { operator: { image, namespaces }, sidecar: { image } }, only });

/** The operator's ServiceAccount and permissions as the chart has them, for some namespaces or all. */
export const renderPermissions = (namespaces: readonly string[] = []): Promise<string> =>
  renderPrerequisites(['operator/serviceaccount.yaml', 'operator/rbac.yaml'], namespaces);

/** The rules of one of its roles. */
export function rulesOf(permissions: string, role: string): Rule[] {
  const found = parseAllDocuments(permissions)
    .map((document) => document.toJSON() as { kind: string; metadata: { name: string }; rules: Rule[] })
    .find(({ kind, metadata }) => kind.endsWith('Role') && metadata.name === role);
  if (!found) throw new Error(`the chart has no role ${role}`);
  return found.rules;
}
