// Package charts holds the chart that both sides of the benchmarks of helm
// release: a web service written as podinfo's public chart is, with a Deployment,
// a Service, a service account, a ConfigMap and a test.
package charts

// Podinfo returns the files of the chart.
func Podinfo() map[string]string {
	return map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: podinfo\ndescription: a web service\nversion: 6.9.0\nappVersion: 6.9.0\n",
		"values.yaml": `replicaCount: 1
logLevel: info
host: ""
backend: ""
image:
  repository: example.test/podinfo
  tag: 6.9.0
  pullPolicy: IfNotPresent
ui:
  color: "#34577c"
  message: ""
service:
  enabled: true
  type: ClusterIP
  httpPort: 9898
  grpcPort: 9999
serviceAccount:
  enabled: true
resources:
  requests:
    cpu: 1m
    memory: 16Mi
probes:
  initialDelaySeconds: 1
  timeoutSeconds: 5
`,
		"templates/_helpers.tpl": `{{- define "podinfo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "podinfo.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- define "podinfo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "podinfo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "podinfo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "podinfo.fullname" . }}
{{- end -}}
`,
		"templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ template "podinfo.fullname" . }}
  labels:
    {{- include "podinfo.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicaCount }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "podinfo.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "podinfo.selectorLabels" . | nindent 8 }}
    spec:
      terminationGracePeriodSeconds: 30
      {{- if .Values.serviceAccount.enabled }}
      serviceAccountName: {{ template "podinfo.fullname" . }}
      {{- end }}
      containers:
      - name: {{ .Chart.Name }}
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        command:
        - ./podinfo
        - --port={{ .Values.service.httpPort }}
        - --level={{ .Values.logLevel }}
        env:
        - name: PODINFO_UI_COLOR
          value: {{ .Values.ui.color | quote }}
        - name: PODINFO_UI_MESSAGE
          value: {{ .Values.ui.message | quote }}
        envFrom:
        - configMapRef:
            name: {{ template "podinfo.fullname" . }}
        ports:
        - name: http
          containerPort: {{ .Values.service.httpPort }}
          protocol: TCP
        - name: grpc
          containerPort: {{ .Values.service.grpcPort }}
          protocol: TCP
        resources:
{{ toYaml .Values.resources | indent 10 }}
`,
		"templates/service.yaml": `{{- if .Values.service.enabled -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ template "podinfo.fullname" . }}
  labels:
    {{- include "podinfo.labels" . | nindent 4 }}
spec:
  type: {{ .Values.service.type }}
  ports:
  - port: {{ .Values.service.httpPort }}
    targetPort: http
    protocol: TCP
    name: http
  - port: {{ .Values.service.grpcPort }}
    targetPort: grpc
    protocol: TCP
    name: grpc
  selector:
    {{- include "podinfo.selectorLabels" . | nindent 4 }}
{{- end }}
`,
		"templates/serviceaccount.yaml": `{{- if .Values.serviceAccount.enabled -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ template "podinfo.fullname" . }}
  labels:
    {{- include "podinfo.labels" . | nindent 4 }}
{{- end }}
`,
		"templates/configmap.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ template "podinfo.fullname" . }}
  labels:
    {{- include "podinfo.labels" . | nindent 4 }}
data:
  message: {{ .Values.ui.message | quote }}
`,
		"templates/tests/service.yaml": `apiVersion: v1
kind: Pod
metadata:
  name: {{ template "podinfo.fullname" . }}-test
  annotations:
    "helm.sh/hook": test-success
    "helm.sh/hook-delete-policy": before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  containers:
  - name: curl
    image: example.test/curl:1
`,
		"templates/NOTES.txt": "Get {{ template \"podinfo.fullname\" . }} at port {{ .Values.service.httpPort }}.\n",
	}
}
