/** The part of a structural schema (Kubernetes API conventions, OpenAPI 3) that says which fields there are. */
export interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}

/** Paths of the fields that a schema has below `path`: `spec.agents.grants[].sender`. */
export function fieldsOf({ properties = {}, items }: Schema, path = ''): string[] {
  const own = Object.entries(properties).flatMap(([name, schema]) => {
    const field = path === '' ? name : `${path}.${name}`;
    return [field, ...fieldsOf(schema, field)];
  });
  return items ? [...own, ...fieldsOf(items, `${path}[]`)] : own;
}
