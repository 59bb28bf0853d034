// Writes v1alpha1.ts from the CRD, so that types and fields cannot drift from the schema; `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { parse } from 'yaml';
import { fieldsOf } from './fields.ts';

const crdPath = new URL('../../crds/macpauthissuers.yaml', import.meta.url);
const typesPath = new URL('./v1alpha1.ts', import.meta.url);

type Schema = {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  default?: unknown;
  required?: string[];
  additionalProperties?: unknown;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
};

// A field with a default is always there, since the API server fills it in.
function withRequiredDefaults(schema: Schema): Schema {
  const properties = Object.entries(schema.properties ?? {});
  const defaulted = properties.filter(([, property]) => property.default !== undefined).map(([name]) => name);
  return {
    ...schema,
    ...(schema.type === 'object' && {
      additionalProperties:
        schema.additionalProperties ?? schema['x-kubernetes-preserve-unknown-fields'] ?? false,
      required: [...new Set([...(schema.required ?? []), ...defaulted])],
      properties: Object.fromEntries(
        properties.map(([name, property]) => [name, withRequiredDefaults(property)]),
      ),
    }),
    ...(schema.items && { items: withRequiredDefaults(schema.items) }),
  };
}

const crd = parse(readFileSync(crdPath, 'utf8'));
const { spec, status } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
const fields = fieldsOf({ properties: { spec, status } }).map((field) => `  '${field}',\n`);
// Bounds of lists are the API server's to check: as types they would be tuples that nobody can read.
const options = {
  bannerComment: '',
  format: true,
  ignoreMinAndMaxItems: true,
  style: { singleQuote: true, printWidth: 110 },
};
const types = [
  '// Generated from crds/macpauthissuers.yaml by `npm run generate`; do not edit.\n',
  await compile(withRequiredDefaults(spec) as JSONSchema, 'MacpAuthIssuerSpec', options),
  await compile(withRequiredDefaults(status) as JSONSchema, 'MacpAuthIssuerStatus', options),
  `/** Paths of all fields. */\nexport const fields: readonly string[] = [\n${fields.join('')}];\n`,
].join('\n');

if (process.argv.includes('--check')) {
  if (readFileSync(typesPath, 'utf8') !== types) {
    process.stderr.write('operator/api/v1alpha1.ts does not match the CRD: run `npm run generate`\n');
    process.exit(1);
  }
} else {
  writeFileSync(typesPath, types);
}
