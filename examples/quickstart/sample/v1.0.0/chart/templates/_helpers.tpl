{{- define "cache.labels" -}}
app: {{ .Release.Name }}-cache
{{- end }}
