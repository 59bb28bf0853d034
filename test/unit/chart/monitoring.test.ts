import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { createMetrics as createOperatorMetrics } from '../../../operator/metrics.ts';
import { conditionTypes, reasons } from '../../../operator/status/conditions.ts';
import { createMetrics as createSidecarMetrics } from '../../../sidecar/metrics.ts';

const root = join(import.meta.dirname, '../../..');
const file = (path: string) => readFileSync(join(root, path), 'utf8');
const files = 'charts/macp-auth-operator/files';

interface Rule {
  alert: string;
  expr: string;
  annotations: { runbook: string };
}
interface Panel {
  title: string;
  targets?: { expr: string }[];
}

const rules = (parse(file(`${files}/alerts.yaml`)).groups as { rules: Rule[] }[]).flatMap(
  (group) => group.rules,
);
const { panels } = JSON.parse(file(`${files}/dashboard.json`)) as { panels: Panel[] };
const expressions: [string, string][] = [
  ...rules.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }): [string, string] => [title, expr])),
];

/** What both programs export, with the series that a histogram has. */
async function exported(): Promise<Set<string>> {
  const sidecar = createSidecarMetrics();
  sidecar.ofTLS();
  const texts = [await createOperatorMetrics(() => 0).registry.metrics(), await sidecar.text()];
  const names = texts.flatMap((text) => [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)]);
  return new Set(
    names.flatMap(([, name = '', type]) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => `${name}${end}`) : [name],
    ),
  );
}

describe('alerts and dashboard', () => {
  test.each(expressions)('%s asks for metrics that there are: %s', async (_, expr) => {
    const asked = [...expr.matchAll(/\b(?:macp_auth|process|nodejs)_\w+/g)].map(([name]) => name);
    expect(asked.length).toBeGreaterThan(0);
    const there = await exported();
    expect(asked.filter((name) => !there.has(name))).toEqual([]);
  });

  test('name conditions and reasons that there are', () => {
    const all = expressions.map(([, expr]) => expr).join('\n');
    const named = (label: string) =>
      [...all.matchAll(new RegExp(`${label}="(\\w+)"`, 'g'))].map(([, name]) => name);
    expect(conditionTypes).toEqual(expect.arrayContaining(named('type')));
    expect(Object.keys(reasons.RotationOnTime)).toEqual(expect.arrayContaining(named('reason')));
  });

  test('each alert has a runbook', () => {
    const anchors = [...file('docs/runbooks.md').matchAll(/^## (.+)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    );
    for (const { annotations } of rules) expect(anchors).toContain(annotations.runbook);
  });
});
