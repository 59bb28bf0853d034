{{/*
What the policies have in common. The injection writes, and the guards demand, the same names, paths and values: each is
said here once.
*/}}

{{- define "macp.group" -}}
auth.multiagentcoordinationprotocol.io
{{- end }}

{{- define "macp.issuerLabel" -}}
{{ include "macp.group" . }}/issuer
{{- end }}

{{- define "macp.managedBy" -}}
macp-auth-operator
{{- end }}

{{- define "macp.sidecarName" -}}
macp-auth-sidecar
{{- end }}

{{- define "macp.filesVolume" -}}
macp-auth-files
{{- end }}

{{- define "macp.filesPath" -}}
/var/run/macp-auth
{{- end }}

{{- define "macp.noTokenVolume" -}}
macp-auth-no-token
{{- end }}

{{- define "macp.tokenPath" -}}
/var/run/secrets/kubernetes.io/serviceaccount
{{- end }}

{{- define "macp.sidecarImage" -}}
{{ required "sidecar.image must be set to the image of the sidecar, as registry/name:tag or registry/name@sha256:…" .Values.sidecar.image }}
{{- end }}

{{/* CEL: the images that a new pod's sidecar may have. A template with a sidecar of its own names that of an earlier release. */}}
{{- define "macp.sidecarImages" -}}
{{ concat (list (include "macp.sidecarImage" .)) (.Values.sidecar.alsoAllowedImages | default list) | toJson }}
{{- end }}

{{- define "macp.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.operator.serviceAccount.name }}
{{- end }}

{{/* What the sidecar learns of its pod: variables by name, with the fields that they come from. */}}
{{- define "macp.sidecarFields" -}}
MACP_AUTH_HEALTH_BIND_ADDRESS: status.podIP
MACP_AUTH_POD_NAMESPACE: metadata.namespace
MACP_AUTH_SERVICE_ACCOUNT: spec.serviceAccountName
{{- end }}

{{/* A label value that can name an issuer: a namespace, a dot, and a name, which has at most 40 characters and no dot. */}}
{{- define "macp.issuerPattern" -}}
^[a-z0-9]([-a-z0-9]*[a-z0-9])?[.][a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$
{{- end }}

{{/* Names of the Secrets that hold keys. */}}
{{- define "macp.keySecretPattern" -}}
^macp-auth(-keyring)?[.]
{{- end }}

{{/* The pod's annotations about its sidecar: the CEL variable that holds each, and what it is. */}}
{{- define "macp.askedPorts" -}}
askedPort: sidecar-port
askedHealthPort: sidecar-health-port
{{- end }}
{{- define "macp.askedAmounts" -}}
askedCpuRequest: sidecar-cpu-request
askedCpuLimit: sidecar-cpu-limit
askedMemoryRequest: sidecar-memory-request
askedMemoryLimit: sidecar-memory-limit
{{- end }}

{{/* CEL: whether a variable is a port that the sidecar can listen on: it may not use those of the system. */}}
{{- define "macp.isPort" -}}
variables.{{ . }}.matches('^[1-9][0-9]{3,4}$') && int(variables.{{ . }}) >= 1024 && int(variables.{{ . }}) <= 65535
{{- end }}

{{/* CEL: whether a variable is an amount of CPU or memory. */}}
{{- define "macp.isAmount" -}}
isQuantity(variables.{{ . }}) && quantity(variables.{{ . }}).isGreaterThan(quantity('0'))
{{- end }}

{{/* CEL variables, the same in the injection and in the guards: what a pod asks for, empty for nothing. */}}
{{- define "macp.askedVariables" -}}
{{- range $asked := list (include "macp.askedPorts" .) (include "macp.askedAmounts" .) }}
{{- range $variable, $annotation := $asked | fromYaml }}
- name: {{ $variable }}
  expression: object.metadata.?annotations[?'{{ include "macp.group" $ }}/{{ $annotation }}'].orValue('')
{{- end }}
{{- end }}
{{- end }}

{{/*
CEL variables, the same in the injection and in the guards: what the pod asks for, else what the chart says. A malformed
annotation counts as none here, so that the guard is the one that refuses it, in words.
*/}}
{{- define "macp.sidecarVariables" -}}
- name: issuer
  expression: object.metadata.labels['{{ include "macp.issuerLabel" . }}']
{{- include "macp.askedVariables" . }}
- name: port
  expression: "{{ include "macp.isPort" "askedPort" }} ? variables.askedPort : '{{ .Values.sidecar.port }}'"
- name: healthPort
  expression: "{{ include "macp.isPort" "askedHealthPort" }} ? variables.askedHealthPort : '{{ .Values.sidecar.healthPort }}'"
{{- range $resource := list "Cpu" "Memory" }}
{{- $request := printf "asked%sRequest" $resource }}
{{- $limit := printf "asked%sLimit" $resource }}
- name: {{ lower $resource }}RequestExceedsLimit
  expression: >-
    {{ include "macp.isAmount" $request }} && {{ include "macp.isAmount" $limit }}
    && quantity(variables.{{ $request }}).isGreaterThan(quantity(variables.{{ $limit }}))
{{- end }}
{{- end }}

{{/* Pods with our label that are agents': the operator's own JWKS servers carry the label too. */}}
{{- define "macp.agentPods" -}}
matchExpressions:
  - { key: {{ include "macp.issuerLabel" . }}, operator: Exists }
  - { key: app.kubernetes.io/managed-by, operator: NotIn, values: [{{ include "macp.managedBy" . }}] }
{{- end }}

{{/* CEL: whether who asks is exempt from what guards.exempt has lists for, "objects" or "pods". Empty lists exempt nobody. */}}
{{- define "macp.isExempt" -}}
{{- $exempt := index (.root.Values.guards.exempt | default dict) .from | default dict -}}
(request.userInfo.username in {{ $exempt.users | default list | toJson }}
|| request.userInfo.?groups.orValue([]).exists(group, group in {{ $exempt.groups | default list | toJson }}))
{{- end }}

{{/*
CEL: whether a new pod is made by a controller, which nobody is exempt for: behind the controller stands whoever wrote the
template, and in some clusters the controller manager acts as one of system:masters.
*/}}
{{- define "macp.isOfController" -}}
object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false))
{{- end }}

{{/* The match condition of a guard that exempts, as above. */}}
{{- define "macp.exemption" -}}
- name: is-not-exempt
  expression: >-
    !{{ include "macp.isExempt" . | nindent 4 | trim }}
{{- end }}

{{/* A policy about the operator's own requests, as far as its variables: its name, and what it is about. */}}
{{- define "macp.restraintHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
  {{- include "macp.plainMetadata" .root | nindent 2 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      {{- range .about }}
      - { {{ . }}, operations: [CREATE, UPDATE, DELETE] }
      {{- end }}
  matchConditions:
    - name: is-the-operator
      expression: request.userInfo.username == '{{ include "macp.operatorUser" .root }}'
{{- end }}

{{/* A binding that puts a policy into force everywhere. */}}
{{- define "macp.denyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  {{- include "macp.plainMetadata" .root | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{/* CEL: whether containers of a list (a variable's name) take values from a Secret with keys into their environment. */}}
{{- define "macp.environmentReadsKeys" -}}
variables.{{ . }}.exists(c,
  c.?env.orValue([]).exists(e, e.?valueFrom.?secretKeyRef.?name.orValue('').matches('{{ include "macp.keySecretPattern" . }}'))
  || c.?envFrom.orValue([]).exists(e, e.?secretRef.?name.orValue('').matches('{{ include "macp.keySecretPattern" . }}')))
{{- end }}
