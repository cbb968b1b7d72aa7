{{- /* A release called jobmanager has the names of the plain manifests. */}}
{{- define "prefix" -}}
{{- if ne .Release.Name "jobmanager" }}{{ .Release.Name }}-{{ end }}
{{- end }}

{{- define "clusterId" -}}
{{- .Values.clusterId | default (printf "%s/%s" .Release.Namespace .Release.Name) }}
{{- end }}

{{- /* As the JobManager makes it of its cluster-id. */}}
{{- define "lease" -}}
jobmanager.{{ include "clusterId" . | trimAll "/" | replace "/" "." }}
{{- end }}

{{- define "image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* $(POD_IP) as a part of HOST:PORT. */}}
{{- define "podHost" -}}
{{- if eq .Values.ipFamily "IPv6" }}[$(POD_IP)]{{ else }}$(POD_IP){{ end }}
{{- end }}

{{- /* Of a list: the root, and the component. */}}
{{- define "selector" -}}
app.kubernetes.io/name: jobmanager
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{- /* What pods of both components have in common, of the same list. */}}
{{- define "pod" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
enableServiceLinks: false
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- with $values.affinity }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "selector" . | nindent 14 }}
{{- end }}
{{- end }}

{{- /* What their containers have in common. */}}
{{- define "container" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
image: {{ include "image" (index . 0) }}
imagePullPolicy: {{ (index . 0).Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- end }}
