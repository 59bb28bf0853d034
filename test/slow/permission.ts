import type { AuditEvent } from '../controlplane/audit.ts';
import { type Rule, rulesOf } from '../support/permissions.ts';

/** One verb of a rule. */
export interface Permission {
  verb: string;
  group: string;
  /** With its subresource. */
  resource: string;
  /** The objects that it is about; undefined: all. */
  names: string[] | undefined;
}

/** What one of the chart's roles allows. */
export const permissionsOf = (permissions: string, role: string): Permission[] =>
  rulesOf(permissions, role).flatMap(({ apiGroups, resources, resourceNames: names, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => ({ verb, group, resource, names }))),
    ),
  );

/** A rule that allows this and nothing else. */
export const ruleOf = ({ group, resource, verb, names }: Permission): Rule => ({
  ...{ apiGroups: [group], resources: [resource], verbs: [verb] },
  ...(names && { resourceNames: names }),
});

/** A permission in words, for comparisons. */
export const sentence = ({ verb, group, resource }: Omit<Permission, 'names'>): string =>
  `${verb} ${group}/${resource}`;

/** What an audit event tells of as it was asked. */
export const asked = ({ verb, objectRef }: AuditEvent): string => {
  const subresource = objectRef?.subresource ? `/${objectRef.subresource}` : '';
  return sentence({
    verb,
    group: objectRef?.apiGroup ?? '',
    resource: `${objectRef?.resource}${subresource}`,
  });
};

/** The name of who lacks one permission, or none. */
export const nameOf = (missing: Permission | undefined): string =>
  missing ? `no-${missing.verb}-${missing.resource.replace('/', '-')}` : 'no-lack-of-any';

/** What the API server says to a user who lacks one. */
export const refusalOf = ({ verb, group, resource }: Permission, user: string): string =>
  `User "${user}" cannot ${verb} resource "${resource}" in API group "${group}"`;
