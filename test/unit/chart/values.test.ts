import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';

const chart = join(import.meta.dirname, '../../../charts/macp-auth-operator');
const values = parse(readFileSync(join(chart, 'values.yaml'), 'utf8'));
const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));

interface Schema {
  $ref?: string;
  type?: string | string[];
  properties?: Record<string, Schema>;
  additionalProperties?: unknown;
}

const resolve = (node: Schema): Schema =>
  node.$ref ? (schema.$defs[node.$ref.replace('#/$defs/', '')] as Schema) : node;

// Helm itself adds `global`. What is below a map of the user's own, or a list, has no values of ours.
const described = (node: Schema, path = ''): string[] =>
  Object.entries(resolve(node).properties ?? {})
    .filter(([name]) => path !== '' || name !== 'global')
    .flatMap(([name, child]) => [`${path}${name}`, ...described(child, `${path}${name}.`)]);
const given = (value: unknown, path = ''): string[] =>
  value === null || typeof value !== 'object' || Array.isArray(value)
    ? []
    : Object.entries(value).flatMap(([name, child]) => [
        `${path}${name}`,
        ...given(child, `${path}${name}.`),
      ]);

test('the schema knows the values that there are, and there are those that it knows', () => {
  // Of a Pod, which has these by itself.
  const isOfPod = (path: string) => /^operator\.affinity\./.test(path);
  const isAmount = (path: string) => /\.resources\.(requests|limits)\./.test(path);
  const isLabel = (path: string) => path.startsWith('monitoring.dashboard.labels.');
  expect(
    described(schema)
      .filter((path) => !isOfPod(path))
      .sort(),
  ).toEqual(
    given(values)
      .filter((path) => !isAmount(path) && !isLabel(path))
      .sort(),
  );
});

test('it lets no unknown value through', () => {
  const objects: Schema[] = [];
  const collect = (node: unknown) => {
    if (node === null || typeof node !== 'object') return;
    if ('properties' in node) objects.push(node as Schema);
    for (const child of Object.values(node)) collect(child);
  };
  collect(schema);
  expect(objects.length).toBeGreaterThan(10);
  for (const node of objects) expect(node.additionalProperties).toBe(false);
});
