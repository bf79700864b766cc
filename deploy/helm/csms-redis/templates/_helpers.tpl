{{- define "csms-redis.name" -}}
{{- default .Chart.Name .Values.nameOverride }}
{{- end }}

{{/* A Service's name begins with a letter, has no dot, and leaves room for -backup in a CronJob's 52. */}}
{{- define "csms-redis.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name (include "csms-redis.name" .) }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains (include "csms-redis.name" .) .Release.Name }}
{{- $name = .Release.Name }}
{{- end }}
{{- if regexMatch "^[0-9]" $name }}
{{- fail (printf "no Service can be called %s, for it begins with a digit: set fullnameOverride" $name) }}
{{- end }}
{{- $plain := replace "." "-" $name }}
{{- if or (ne $plain $name) (gt (len $name) 40) }}
{{- $plain = printf "%s-%s" ($plain | trunc 31 | trimSuffix "-") ($name | sha256sum | trunc 8) }}
{{- end }}
{{- $plain }}
{{- end }}

{{- define "csms-redis.selector" -}}
app.kubernetes.io/name: {{ include "csms-redis.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "csms-redis.backupSelector" -}}
app.kubernetes.io/name: {{ include "csms-redis.name" . }}-backup
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{/* Labels of the chart, and those that values add: (list . added). */}}
{{- define "csms-redis.labelsAnd" -}}
{{- merge dict (index . 1) (include "csms-redis.labels" (index . 0) | fromYaml) | toYaml }}
{{- end }}

{{- define "csms-redis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Values that the schema cannot tell from good ones, and that no pod would come of. */}}
{{- define "csms-redis.refusals" -}}
{{- range list "name" "instance" }}
{{- if hasKey $.Values.podLabels (printf "app.kubernetes.io/%s" .) }}
{{- fail (printf "podLabels: the pods are selected by app.kubernetes.io/%s; only nameOverride and the release's name change it" .) }}
{{- end }}
{{- end }}
{{- if regexMatch "^[^/]*//[^/@]*:[^/@]+@" (toString (default "" (.Values.settings.redis).url)) }}
{{- fail "settings.redis.url: a ConfigMap is no place for a password: put it into the Secret of secrets.name as redis-password, and set settings.redis.password_file to /run/secrets/csms-redis/redis-password" }}
{{- end }}
{{- if (.Values.settings.server).tls }}
{{- fail "settings.server.tls: set tls.secretName, by which the probes speak TLS too. They have no certificate of their own: with a client_ca_file no pod would be ready" }}
{{- end }}
{{- if and .Values.backendTLSPolicy.enabled (not .Values.tls.secretName) }}
{{- fail "backendTLSPolicy: the pods speak TLS only with tls.secretName" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings as the service's environment: CSMS_<SECTION>__<KEY>. */}}
{{- define "csms-redis.environment" -}}
{{- $environment := dict "CSMS_CONFIG" "/etc/csms-redis/config.toml" }}
{{- if or .Values.redisCA.configMap .Values.redisCA.secret }}
{{- $_ := set $environment "CSMS_REDIS__TLS_CA_FILE" "/run/tls/redis/ca.crt" }}
{{- end }}
{{- $_ := set $environment "CSMS_SERVER__MAX_CONNECTIONS" (empty .Values.tls.secretName | ternary "50000" "5000") }}
{{- if .Values.tls.secretName }}
{{- $_ := set $environment "CSMS_SERVER__TLS__CERTIFICATE_FILE" "/run/tls/server/tls.crt" }}
{{- $_ := set $environment "CSMS_SERVER__TLS__KEY_FILE" "/run/tls/server/tls.key" }}
{{- end }}
{{- range $section, $keys := .Values.settings }}
{{- range $key, $value := $keys }}
{{- $name := printf "CSMS_%s__%s" (upper $section) (upper $key) }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $environment $name (kindIs "string" $value | ternary $value (toJson $value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $environment }}
{{- end }}

{{/* preStop, both drains, and 10 s to spare. */}}
{{- define "csms-redis.gracePeriod" -}}
{{- $server := default dict .Values.settings.server }}
{{- add 15 (ceil (default 0 $server.drain_delay)) (ceil (default 15 $server.drain_timeout)) }}
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
    name: {{ include "csms-redis.fullname" . | quote }}
- name: secrets
  secret:
    secretName: {{ .Values.secrets.name | quote }}
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
    secretName: {{ .Values.redisCA.secret | quote }}
    defaultMode: 0440
    items:
      - key: ca.crt
        path: ca.crt
{{- else if .Values.redisCA.configMap }}
- name: redis-ca
  configMap:
    name: {{ .Values.redisCA.configMap | quote }}
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
