package helm

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
	yamlv3 "sigs.k8s.io/yaml/goyaml.v3"
)

// functions are those that Helm gives to templates, without the ones that reach
// out of the chart: env and expandenv are unknown, getHostByName and lookup find
// nothing.
func (r *run) functions(set *template.Template) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	maps.Copy(all, template.FuncMap{
		"getHostByName": func(string) string { return "" },
		"lookup":        func(string, string, string, string) map[string]any { return map[string]any{} },

		"include":  r.include(set),
		"tpl":      r.tpl(set),
		"required": required,
		"fail":     func(text string) (string, error) { return "", refusal(text) },

		"toYaml":        toYAML,
		"toYamlPretty":  toYAMLPretty,
		"fromYaml":      func(s string) map[string]any { return decodeMap(s, unmarshalYAML) },
		"fromYamlArray": func(s string) []any { return decodeArray(s, unmarshalYAML) },
		"toJson":        toJSON,
		"fromJson":      func(s string) map[string]any { return decodeMap(s, json.Unmarshal) },
		"fromJsonArray": func(s string) []any { return decodeArray(s, json.Unmarshal) },
		"toToml":        toTOML,
		"fromToml":      func(s string) map[string]any { return decodeMap(s, toml.Unmarshal) },
	})
	maps.Copy(all, r.sized(all))
	maps.Copy(all, r.guards())
	return all
}

// required passes a value on, unless it is missing or an empty text.
func required(text string, v any) (any, error) {
	if s, ok := v.(string); v == nil || ok && s == "" {
		return nil, refusal(text)
	}
	return v, nil
}

// As in Helm, what cannot be written leaves nothing, and what cannot be read is
// found under "Error" or as the only item.

func toYAML(v any) string {
	data, err := yaml.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(data), "\n")
}

func toYAMLPretty(v any) string {
	var out bytes.Buffer
	enc := yamlv3.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func toJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}

func toTOML(v any) string {
	var out bytes.Buffer
	if err := toml.NewEncoder(&out).Encode(v); err != nil {
		return err.Error()
	}
	return out.String()
}

func unmarshalYAML(data []byte, v any) error { return yaml.Unmarshal(data, v) }

func decodeMap(s string, unmarshal func([]byte, any) error) map[string]any {
	m := map[string]any{}
	if err := unmarshal([]byte(s), &m); err != nil {
		m["Error"] = err.Error()
	}
	return m
}

func decodeArray(s string, unmarshal func([]byte, any) error) []any {
	list := []any{}
	if err := unmarshal([]byte(s), &list); err != nil {
		return []any{err.Error()}
	}
	return list
}
