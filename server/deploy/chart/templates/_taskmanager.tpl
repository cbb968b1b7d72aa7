{{- /* A TaskManager's pod: of a Deployment, or made by JobManagers, who add where they are, its name and its slots. */}}
{{- define "taskmanager" -}}
metadata:
  labels:
    {{- include "selector" (list . "taskmanager") | nindent 4 }}
  {{- with .Values.taskmanager.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "prefix" . }}taskmanager
  automountServiceAccountToken: false
  # It leaves within --leave-timeout, and then says what is left to say within 5 s.
  terminationGracePeriodSeconds: {{ add .Values.taskmanager.leaveTimeout 15 }}
  {{- include "pod" (list . "taskmanager") | nindent 2 }}
  containers:
    - name: taskmanager
      {{- include "container" (list . "taskmanager") | nindent 6 }}
      command: [taskmanager]
      args:
        {{- if not .Values.taskmanager.onDemand.enabled }}
        # One Service by two of its names: while one connection leads to the leader, another one asks whether there
        # is a later one.
        - --jobmanager={{ include "prefix" . }}jobmanager-rpc:6123,{{ include "prefix" . }}jobmanager-rpc.$(POD_NAMESPACE):6123
        - --id=$(POD_NAME)
        - --slots={{ .Values.taskmanager.slots }}
        {{- end }}
        - --bind-addr={{ include "podHost" . }}:6122
        - --allow-insecure
        - --leave-timeout={{ .Values.taskmanager.leaveTimeout }}
        - --log-format=json
      env:
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        {{- with .Values.taskmanager.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.checkpoints.secret }}
      envFrom:
        - secretRef: {name: {{ . }}}
      {{- end }}
      ports:
        - {name: exchange, protocol: TCP, containerPort: 6122}
      readinessProbe:
        tcpSocket: {port: exchange}
        periodSeconds: 5
        timeoutSeconds: 5
      livenessProbe:
        tcpSocket: {port: exchange}
        periodSeconds: 10
        timeoutSeconds: 5
      {{- with .Values.taskmanager.volumeMounts }}
      volumeMounts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- with .Values.taskmanager.volumes }}
  volumes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* Refuses what does not go with it that JobManagers make these pods. */}}
{{- define "onDemandChecked" -}}
{{- $cluster := include "clusterId" . | trimAll "/" }}
{{- with .Values.taskmanager }}
{{- if .autoscaling.enabled }}
{{- fail "taskmanager: autoscaling and onDemand both say how many TaskManagers there are; enable one of them" }}
{{- end }}
{{- if lt (int .onDemand.maxSlots) (int .slots) }}
{{- fail (printf "taskmanager.onDemand: maxSlots is %d, and a TaskManager has %d slots, so there would never be one; it cannot be less than taskmanager.slots" (int .onDemand.maxSlots) (int .slots)) }}
{{- end }}
{{- end }}
{{- if gt (len $cluster) 63 }}
{{- fail (printf "taskmanager.onDemand: the cluster %s is in a label of each pod, which has 63 characters at most; name a shorter one with clusterId (records are found by it)" $cluster) }}
{{- end }}
{{- end }}

{{- /* The labels that JobManagers give these pods, as they make them of their cluster-id. */}}
{{- define "onDemandSelector" -}}
jobmanager/cluster-id={{ include "clusterId" . | trimAll "/" | replace "/" "." }},jobmanager/component=taskmanager
{{- end }}
