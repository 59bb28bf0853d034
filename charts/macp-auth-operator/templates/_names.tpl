{{/* What all objects of the chart have in common. */}}

{{- define "macp.name" -}}
macp-auth-operator
{{- end }}

{{/* What tells the operator's pods from others. */}}
{{- define "macp.selectorLabels" -}}
app.kubernetes.io/name: {{ include "macp.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Those of the values never replace ours. */}}
{{- define "macp.labels" -}}
{{- $own := dict
      "app.kubernetes.io/name" (include "macp.name" .)
      "app.kubernetes.io/instance" .Release.Name
      "app.kubernetes.io/version" .Chart.AppVersion
      "app.kubernetes.io/managed-by" .Release.Service
      "app.kubernetes.io/part-of" "macp-auth"
      "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version) -}}
{{ merge $own (.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/* Labels and annotations of an object: .root, and further ones in .labels and .annotations. */}}
{{- define "macp.metadata" -}}
labels:
  {{- merge (include "macp.labels" .root | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same of an object that has no more than all have. */}}
{{- define "macp.plainMetadata" -}}
{{ include "macp.metadata" (dict "root" .) }}
{{- end }}

{{- define "macp.healthPort" -}}
8081
{{- end }}

{{/* The restricted Pod Security standard, of a pod and of its containers. */}}
{{- define "macp.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}
{{- define "macp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "macp.operatorImage" -}}
{{ required "operator.image must be set to the image of the operator, as registry/name:tag or registry/name@sha256:…" .Values.operator.image }}
{{- end }}
