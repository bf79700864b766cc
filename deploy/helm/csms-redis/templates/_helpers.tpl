{{- define "csms-redis.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "csms-redis.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "csms-redis.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "csms-redis.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "csms-redis.selector" -}}
app.kubernetes.io/name: {{ include "csms-redis.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "csms-redis.backupSelector" -}}
app.kubernetes.io/name: {{ include "csms-redis.name" . }}-backup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "csms-redis.chartLabels" -}}
app.kubernetes.io/part-of: csms
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "csms-redis.labels" -}}
{{ include "csms-redis.selector" . }}
{{ include "csms-redis.chartLabels" . }}
{{- end }}

{{- define "csms-redis.backupLabels" -}}
{{ include "csms-redis.backupSelector" . }}
{{ include "csms-redis.chartLabels" . }}
{{- end }}

{{- define "csms-redis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Settings as the service's environment: CSMS_<SECTION>__<KEY>. */}}
{{- define "csms-redis.environment" -}}
{{- $environment := dict "CSMS_CONFIG" "/etc/csms-redis/config.toml" }}
{{- if or .Values.redisCA.configMap .Values.redisCA.secret }}
{{- $_ := set $environment "CSMS_REDIS__TLS_CA_FILE" "/run/tls/redis/ca.crt" }}
{{- end }}
{{- if .Values.tls.secretName }}
{{- $_ := set $environment "CSMS_SERVER__TLS__CERTIFICATE_FILE" "/run/tls/server/tls.crt" }}
{{- $_ := set $environment "CSMS_SERVER__TLS__KEY_FILE" "/run/tls/server/tls.key" }}
{{- end }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- $name := printf "CSMS_%s__%s" (upper $section) (upper $key) }}
{{- if and (eq $name "CSMS_SERVER__TLS") (kindIs "map" $value) }}
{{- range $inner, $file := $value }}
{{- $_ := set $environment (printf "%s__%s" $name (upper $inner)) $file }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{- $_ := set $environment $name (kindIs "string" $value | ternary $value (toJson $value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $environment }}
{{- end }}

{{- define "csms-redis.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "csms-redis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "csms-redis.configMounts" -}}
- name: config
  mountPath: /etc/csms-redis
  readOnly: true
- name: secrets
  mountPath: /run/secrets/csms-redis
  readOnly: true
{{- end }}

{{- define "csms-redis.configVolumes" -}}
- name: config
  configMap:
    name: {{ include "csms-redis.fullname" . }}
- name: secrets
  secret:
    secretName: {{ .Values.secrets.name }}
    defaultMode: 0440
    optional: {{ .Values.secrets.optional }}
{{- end }}

{{- define "csms-redis.redisMount" -}}
{{- if or .Values.redisCA.configMap .Values.redisCA.secret }}
- name: redis-ca
  mountPath: /run/tls/redis
  readOnly: true
{{- end }}
{{- end }}

{{- define "csms-redis.redisVolume" -}}
{{- if .Values.redisCA.secret }}
- name: redis-ca
  secret:
    secretName: {{ .Values.redisCA.secret }}
    defaultMode: 0440
    items:
      - key: ca.crt
        path: ca.crt
{{- else if .Values.redisCA.configMap }}
- name: redis-ca
  configMap:
    name: {{ .Values.redisCA.configMap }}
{{- end }}
{{- end }}

{{- define "csms-redis.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}
