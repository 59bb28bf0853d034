// Writes what the chart and its documentation share with other files, so that they cannot drift; `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { isMap, isScalar, type Pair, parse, parseDocument, type Scalar, type YAMLMap } from 'yaml';

const root = new URL('../', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, root), 'utf8');
const chart = 'charts/macp-auth-operator';

const cell = (text: string) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();

/** A table of Markdown, its columns as wide as what is in them. */
function table(rows: string[][]): string {
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length))) ?? [];
  const line = (cells: string[]) => `| ${cells.map((text, i) => text.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

interface Value {
  path: string;
  comment: string;
  /** Undefined: the comment is about what follows below it. */
  preset: unknown;
}

type Entry = Pair<Scalar<string>, unknown>;

// What stands before the first key the parser gives to the map.
const commentOf = (map: YAMLMap, { key }: Entry) =>
  key.commentBefore ?? ((map.items[0] as Entry).key === key ? map.commentBefore : undefined) ?? '';

/** The values of a map with their comments; what is below one is its own where that has no comment. */
function valuesOf(map: YAMLMap, path: string[] = []): Value[] {
  return (map.items as Entry[]).flatMap((entry) => {
    const names = [...path, entry.key.value];
    const { value } = entry;
    const below = isMap(value) ? valuesOf(value, names) : [];
    const isSection = below.some(({ comment }) => comment !== '');
    const preset = isScalar(value) || !isSection ? (value as { toJSON(): unknown }).toJSON() : undefined;
    const own = { path: names.join('.'), comment: commentOf(map, entry), preset };
    return [own, ...(isSection ? below : [])];
  });
}

function valuesPage(): string {
  const document = parseDocument(read(`${chart}/values.yaml`));
  const values = valuesOf(document.contents as YAMLMap);
  const silent = values.filter(({ comment, preset }) => comment === '' && preset !== undefined);
  if (silent.length > 0)
    throw new Error(`values.yaml: a comment is missing at ${silent.map(({ path }) => path).join(', ')}`);
  const rows = values
    .filter(({ comment }) => comment !== '')
    .map(({ path, comment, preset }) => [
      preset === undefined ? `**\`${path}\`**` : `\`${path}\``,
      preset === undefined ? '' : `\`${cell(JSON.stringify(preset))}\``,
      cell(comment),
    ]);
  return [
    '# Values of the chart',
    '<!-- Generated from charts/macp-auth-operator/values.yaml by `npm run generate`; do not edit. -->',
    'A value that the chart does not know, or of another form than it may have, is refused with its name. How to set them is in\n[installation](installation.md).',
    `${table([['Value', 'Default', 'Meaning'], ...rows])}\n`,
  ].join('\n\n');
}

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook: string };
}

function alertsPage(): string {
  const { groups } = parse(read(`${chart}/files/alerts.yaml`)) as { groups: { rules: Rule[] }[] };
  const plain = (text: string) =>
    cell(text).replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, label) => label.toUpperCase());
  const rows = groups
    .flatMap(({ rules }) => rules)
    .map(({ alert, expr, for: duration, labels, annotations }) => [
      `\`${alert}\``,
      labels.severity,
      `${plain(annotations.summary)} [What to do](runbooks.md#${annotations.runbook}).`,
      `\`${cell(expr)}\`${duration ? `, for ${duration}` : ''}`,
    ]);
  return [
    '# Alerts',
    '<!-- Generated from charts/macp-auth-operator/files/alerts.yaml by `npm run generate`; do not edit. -->',
    'The chart makes a PrometheusRule of them with `monitoring.alerts.enabled`; `monitoring.alerts.disabled` leaves some out.\nWithout prometheus-operator take [the file](../charts/macp-auth-operator/files/alerts.yaml) as it is. More is in\n[monitoring](monitoring.md).',
    `${table([['Alert', 'Severity', 'Says', 'When'], ...rows])}\n`,
  ].join('\n\n');
}

const generated: Record<string, () => string> = {
  // A template of the chart can read no file outside of it.
  [`${chart}/files/macpauthissuers.yaml`]: () =>
    `# Generated from crds/macpauthissuers.yaml by \`npm run generate\`; do not edit.\n${read('crds/macpauthissuers.yaml')}`,
  'docs/values.md': valuesPage,
  'docs/alerts.md': alertsPage,
};

const present = (file: string) => {
  try {
    return read(file);
  } catch {
    return undefined;
  }
};

for (const [file, make] of Object.entries(generated)) {
  const text = make();
  if (!process.argv.includes('--check')) writeFileSync(new URL(file, root), text);
  else if (present(file) !== text) {
    process.stderr.write(`${file} does not match what it is made from: run \`npm run generate\`\n`);
    process.exitCode = 1;
  }
}
